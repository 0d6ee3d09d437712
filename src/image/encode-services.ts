/**
 * The sections of services: records, their endpoints and source ranges. A change of a few services rewrites their part and moves what lies
 * behind it; ten thousand services written one by one for every slice that changes would be most of what a change costs.
 *
 * Words are little-endian, as the machines are that weft runs on (the decoder and the loader would notice).
 */
import { swapBytes } from '../net/address.js';
import type { Cidr } from '../net/cidr.js';
import type { Backend, ServiceRecord } from '../policy/service-record.js';
import { sections } from './layout.js';
import { SectionWriter } from './writer.js';

type List = readonly Backend[];
export type TextPlaces = readonly { readonly offset: number; readonly length: number }[];

const wordsOf = (of: { readonly size: number }) => of.size / 4;
const recordWords = wordsOf(sections.services);
const backendWords = wordsOf(sections.backends);
const at = Object.fromEntries(
  Object.entries(sections.services.at).map(([field, offset]) => [field, offset / 4]),
) as typeof sections.services.at;

export class ServiceSections {
  #records: readonly ServiceRecord[] = [];
  #names: TextPlaces = [];
  #services = new Uint32Array();
  #backends = new Uint32Array();
  #sources: Uint8Array = new Uint8Array();

  get services(): Uint8Array {
    return new Uint8Array(this.#services.buffer);
  }
  get backends(): Uint8Array {
    return new Uint8Array(this.#backends.buffer);
  }
  get sources(): Uint8Array {
    return this.#sources;
  }

  /** `names`: the records' texts; the same object as before where no record came or went. Bytes got before are not to be used any more. */
  update(records: readonly ServiceRecord[], names: TextPlaces): void {
    const before = this.#records;
    const same = names === this.#names && records.length === before.length;
    this.#records = records;
    this.#names = names;
    if (!same || !this.#patch(records, before)) this.#writeAll(records);
  }

  /** Records of one service change together, and only they share lists, so what lies around them keeps its form. */
  #patch(records: readonly ServiceRecord[], before: readonly ServiceRecord[]): boolean {
    let from = 0;
    while (from < records.length && records[from] === before[from]) from++;
    if (from === records.length) return true;
    let to = records.length;
    while (records[to - 1] === before[to - 1]) to--;
    for (let i = from; i < to; i++)
      if (records[i]!.sources.length > 0 || before[i]!.sources.length > 0) return false;

    const first = this.#first(from);
    const end = to < records.length ? this.#first(to) : this.#backends.length / backendWords;
    const source = this.#services[from * recordWords + at.first_source]!;
    const middle = this.#write(records, from, to, first, source);
    const old = this.#backends;
    if (middle.length === (end - first) * backendWords) old.set(middle, first * backendWords);
    else {
      this.#backends = new Uint32Array(old.length + middle.length - (end - first) * backendWords);
      this.#backends.set(old.subarray(0, first * backendWords));
      this.#backends.set(middle, first * backendWords);
      this.#backends.set(old.subarray(end * backendWords), first * backendWords + middle.length);
      const moved = middle.length / backendWords - (end - first);
      for (let i = to; i < records.length; i++) this.#services[i * recordWords + at.first_backend]! += moved;
    }
    return true;
  }

  #first(record: number): number {
    return this.#services[record * recordWords + at.first_backend]!;
  }

  #writeAll(records: readonly ServiceRecord[]): void {
    this.#services = new Uint32Array(records.length * recordWords);
    this.#backends = this.#write(records, 0, records.length, 0, 0);
    const sources: Cidr[] = [];
    for (const record of records) sources.push(...record.sources);
    const writer = new SectionWriter(sections.service_sources, sources.length);
    sources.forEach(({ base, depth }, i) => {
      writer.element(i).address('base', base.words).u32('depth', depth);
    });
    this.#sources = writer.bytes;
  }

  /** Writes the records from..to; gives back their endpoints, which begin at `first`. Equal lists of neighbours are there once. */
  #write(
    records: readonly ServiceRecord[],
    from: number,
    to: number,
    first: number,
    firstSource: number,
  ): Uint32Array<ArrayBuffer> {
    const words = this.#services;
    const lists: List[] = [];
    let next = first;
    let source = firstSource;
    /** Lists of the records of one name, which lie together. */
    let shared: { readonly backends: List; readonly kept: List; readonly first: number }[] = [];
    for (let i = from; i < to; i++) {
      const { name, key, affinitySeconds, backends, kept, drops, sources } = records[i]!;
      if (i === from || records[i - 1]!.name !== name) shared = [];
      let place = shared.find((other) => other.backends === backends && other.kept === kept)?.first;
      if (place === undefined) {
        place = next;
        shared.push({ backends, kept, first: place });
        lists.push(backends, kept);
        next += backends.length + kept.length;
      }
      const text = this.#names[i]!;
      const base = i * recordWords;
      words[base + at.key] = key.low;
      words[base + at.key + 1] = key.high;
      words[base + at.name_offset] = text.offset;
      words[base + at.name_length] = text.length;
      words[base + at.first_backend] = place;
      words[base + at.backend_count] = backends.length;
      words[base + at.kept_count] = kept.length;
      words[base + at.affinity_seconds] = affinitySeconds;
      words[base + at.first_source] = source;
      words[base + at.source_count] = sources.length;
      words[base + at.empty] = drops ? 1 : 0;
      source += sources.length;
    }
    return backendBytes(lists, next - first);
  }
}

function backendBytes(lists: readonly List[], total: number): Uint32Array<ArrayBuffer> {
  const words = new Uint32Array(total * backendWords);
  let base = 0;
  for (const list of lists) {
    for (const { address, port } of list) {
      const [a, b, c, d] = address.words;
      words[base] = swapBytes(a);
      words[base + 1] = swapBytes(b);
      words[base + 2] = swapBytes(c);
      words[base + 3] = swapBytes(d);
      words[base + 4] = port;
      base += backendWords;
    }
  }
  return words;
}
