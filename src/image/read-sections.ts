/**
 * Bytes → the elements of each section of an image, by the layout table and nothing else.
 *
 * Checks what damage breaks (sizes, versions, checksums), not what malice builds; the switch's loader does both.
 */
import type { Problem } from '../errors/problem.js';
import { type Address, addressOf } from '../net/address.js';
import { checksum } from './hash.js';
import {
  formatVersion,
  header,
  magic,
  type SectionName,
  type Struct,
  sectionEntry,
  sectionNames,
  sections,
} from './layout.js';

/** One element as read; 64-bit fields are [high, low] in hexadecimal, addresses are Address. */
export type Element = Readonly<Record<string, number | string | Address>>;

function problem(code: string, message: string): { readonly problem: Problem } {
  return { problem: { code, severity: 'error', message, fix: 'Compile the image again.' } };
}

function readElement(of: Struct, view: DataView, base: number): Element {
  const element: Record<string, number | string | Address> = {};
  for (const field of of.fields) {
    const at = base + field.offset;
    switch (field.type) {
      case 'u8':
        element[field.name] = view.getUint8(at);
        break;
      case 'u16':
        element[field.name] = view.getUint16(at, true);
        break;
      case 'u32':
        element[field.name] = view.getUint32(at, true);
        break;
      case 'u64':
        element[field.name] = hex(view.getUint32(at + 4, true)) + hex(view.getUint32(at, true));
        break;
      case 'address':
        element[field.name] = addressOf([
          view.getUint32(at),
          view.getUint32(at + 4),
          view.getUint32(at + 8),
          view.getUint32(at + 12),
        ]);
        break;
    }
  }
  return element;
}

const hex = (word: number): string => word.toString(16).padStart(8, '0');

export type Sections = Readonly<Record<SectionName, readonly Element[]>>;

/** Elements of every section by name, or the first thing that is wrong. */
export function readSections(
  bytes: Uint8Array,
):
  | { readonly head: Element; readonly elements: Sections; readonly text: Texts }
  | { readonly problem: Problem } {
  const headSize = header.size + sectionNames.length * sectionEntry.size;
  if (bytes.length < headSize)
    return problem('image-size', `The image has ${bytes.length} bytes, less than its header.`);
  if (magic.some((byte, i) => bytes[i] !== byte))
    return problem('image-magic', 'The bytes are not an image.');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const head = readElement(header, view, 0);
  if (head.version !== formatVersion)
    return problem('image-version', `The image has format ${head.version}.`);
  if (head.total_size !== bytes.length || head.section_count !== sectionNames.length) {
    return problem('image-size', 'The image is not as long as its header says.');
  }
  const cleared = bytes.slice(0, headSize);
  cleared.fill(0, header.at.checksum, header.at.checksum + 8);
  if (sumText(cleared) !== head.checksum)
    return problem('image-checksum', 'The checksum of the header does not hold.');

  const elements = {} as Record<SectionName, readonly Element[]>;
  const text = { strings: new Uint8Array(), service_strings: new Uint8Array() };
  for (const [i, name] of sectionNames.entries()) {
    const entry = readElement(sectionEntry, view, header.size + i * sectionEntry.size);
    const [offset, size, count] = [entry.offset as number, entry.size as number, entry.count as number];
    const of: Struct = sections[name];
    if (offset + size > bytes.length || size !== count * of.size) {
      return problem('image-section', `The section ${name} does not lie in the image.`);
    }
    const section = bytes.subarray(offset, offset + size);
    if (sumText(section) !== entry.checksum) {
      return problem('image-checksum', `The checksum of the section ${name} does not hold.`);
    }
    if (name === 'strings' || name === 'service_strings') {
      text[name] = section.slice();
      elements[name] = [];
    } else
      elements[name] = Array.from({ length: count }, (_, j) => readElement(of, view, offset + j * of.size));
  }
  return { head, elements, text };
}

export interface Texts {
  readonly strings: Uint8Array;
  readonly service_strings: Uint8Array;
}

function sumText(bytes: Uint8Array): string {
  const [low, high] = checksum(bytes);
  return hex(high) + hex(low);
}
