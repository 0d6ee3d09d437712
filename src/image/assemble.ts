/** Sections → one image: places, section table, header, checksums. */
import type { PolicySettings } from '../policy/settings.js';
import { checksum } from './hash.js';
import {
  cacheLine,
  formatVersion,
  header,
  magic,
  pageAlignment,
  type SectionName,
  sectionEntry,
  sectionNames,
  sections,
} from './layout.js';
import { SectionWriter } from './writer.js';

export interface Section {
  readonly bytes: Uint8Array;
  /** [low, high] */
  readonly checksum: readonly [number, number];
}

/** Seeds of the four hash tables, under their names in the header. */
export type Seeds = Record<
  'identity_cell_seed' | 'block_cell_seed' | 'address_seed' | 'frontend_seed',
  number
>;

/** `content` has every section of the layout. The image is written into `room` where that is large enough. */
export function assemble(
  content: ReadonlyMap<SectionName, Section>,
  seeds: Readonly<Seeds>,
  settings: PolicySettings,
  room?: Uint8Array<ArrayBuffer>,
): Uint8Array<ArrayBuffer> {
  const headSize = header.size + sectionNames.length * sectionEntry.size;
  const table = new SectionWriter(sectionEntry, sectionNames.length);
  const places: number[] = [];
  let end = headSize;
  sectionNames.forEach((name, i) => {
    const { bytes, checksum: sum } = content.get(name)!;
    const alignment = bytes.length >= pageAlignment ? pageAlignment : cacheLine;
    const offset = Math.ceil(end / alignment) * alignment;
    const elementSize = sections[name].size;
    table
      .element(i)
      .u32('offset', offset)
      .u32('size', bytes.length)
      .u32('element_size', elementSize)
      .u32('count', bytes.length / elementSize)
      .u64('checksum', sum[1], sum[0]);
    places.push(offset);
    end = offset + bytes.length;
  });

  const head = new SectionWriter(header, 1);
  head.bytes.set(magic, header.at.magic);
  head
    .u32('version', formatVersion)
    .u32('header_size', headSize)
    .u32('total_size', end)
    .u32('section_count', sectionNames.length)
    .u8('own_node_egress', settings.ownNodeEgress === 'judge' ? 1 : 0)
    .u8('deny_egress', settings.denyAction.egress === 'reject' ? 1 : 0)
    .u8('deny_ingress', settings.denyAction.ingress === 'reject' ? 1 : 0);
  for (const [name, seed] of Object.entries(seeds)) head.u32(name as keyof Seeds, seed);

  const image = room === undefined || room.length < end ? new Uint8Array(end) : room.subarray(0, end);
  let behind = headSize;
  sectionNames.forEach((name, i) => {
    const { bytes } = content.get(name)!;
    image.fill(0, behind, places[i]!);
    image.set(bytes, places[i]!);
    behind = places[i]! + bytes.length;
  });
  image.set(table.bytes, header.size);
  image.set(head.bytes, 0);
  // Over header and table with its own field still zero.
  const [low, high] = checksum(image.subarray(0, headSize));
  head.u64('checksum', high, low);
  image.set(head.bytes, 0);
  return image;
}
