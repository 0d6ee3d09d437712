/**
 * The sections of services: records, their endpoints, source ranges and names. A change of a few services rewrites their part and moves
 * what lies behind it; ten thousand services written one by one for every one that changes would be most of what a change costs.
 *
 * Words are little-endian, as the machines are that weft runs on (the decoder and the loader would notice).
 */
import { swapBytes } from '../net/address.js';
import type { Cidr } from '../net/cidr.js';
import type { Backend, ServiceRecord } from '../policy/service-record.js';
import { sections } from './layout.js';
import { Spliced } from './spliced.js';
import { SectionWriter } from './writer.js';

type List = readonly Backend[];

/** What changed, apart from the records. */
export interface Rewritten {
  readonly backends: boolean;
  readonly sources: boolean;
  readonly names: boolean;
}

const wordsOf = (of: { readonly size: number }) => of.size / 4;
const recordWords = wordsOf(sections.services);
const backendWords = wordsOf(sections.backends);
const sourceWords = wordsOf(sections.service_sources);
const at = Object.fromEntries(
  Object.entries(sections.services.at).map(([field, offset]) => [field, offset / 4]),
) as typeof sections.services.at;
const encoder = new TextEncoder();
const words = (length: number) => new Uint32Array(length);

/** Where the lists of a record begin. */
interface Starts {
  readonly backend: number;
  readonly source: number;
  readonly name: number;
}

/** The part of each section that some records have. */
interface Part {
  readonly services: Uint32Array<ArrayBuffer>;
  readonly backends: Uint32Array<ArrayBuffer>;
  readonly sources: Uint32Array<ArrayBuffer>;
  readonly names: Uint8Array<ArrayBuffer>;
}

export class ServiceSections {
  #records: readonly ServiceRecord[] = [];
  readonly #services = new Spliced(words);
  readonly #backends = new Spliced(words);
  readonly #sources = new Spliced(words);
  readonly #names = new Spliced((length) => new Uint8Array(length));

  get services(): Uint8Array {
    return this.#services.bytes;
  }
  get backends(): Uint8Array {
    return this.#backends.bytes;
  }
  get sources(): Uint8Array {
    return this.#sources.bytes;
  }
  get names(): Uint8Array {
    return this.#names.bytes;
  }

  /**
   * Bytes got before are not to be used any more. All records of a service change together, and only they share lists and names, so what lies
   * around those that changed keeps its form.
   */
  update(records: readonly ServiceRecord[]): Rewritten {
    const before = this.#records;
    this.#records = records;
    const shorter = Math.min(records.length, before.length);
    let from = 0;
    while (from < shorter && records[from] === before[from]) from++;
    let behind = 0;
    while (
      behind < shorter - from &&
      records[records.length - 1 - behind] === before[before.length - 1 - behind]
    )
      behind++;
    const to = before.length - behind;
    const [first, end] = [this.#starts(from), this.#starts(to)];
    const part = write(records, from, records.length - behind, first);
    const named = this.#names.elements.subarray(first.name, end.name);
    const renamed = named.length !== part.names.length || named.some((byte, i) => byte !== part.names[i]);
    this.#services.splice(from * recordWords, (to - from) * recordWords, part.services);
    this.#backends.splice(
      first.backend * backendWords,
      (end.backend - first.backend) * backendWords,
      part.backends,
    );
    this.#sources.splice(first.source * sourceWords, (end.source - first.source) * sourceWords, part.sources);
    this.#names.splice(first.name, end.name - first.name, part.names);
    this.#move(records.length - behind, {
      backend: first.backend + part.backends.length / backendWords - end.backend,
      source: first.source + part.sources.length / sourceWords - end.source,
      name: first.name + part.names.length - end.name,
    });
    return {
      backends: part.backends.length > 0 || end.backend > first.backend,
      sources: part.sources.length > 0 || end.source > first.source,
      names: renamed,
    };
  }

  /** Of a record as it is written, or behind the last one. */
  #starts(record: number): Starts {
    const services = this.#services.elements;
    const base = record * recordWords;
    if (base < services.length)
      return {
        backend: services[base + at.first_backend]!,
        source: services[base + at.first_source]!,
        name: services[base + at.name_offset]!,
      };
    return {
      backend: this.#backends.length / backendWords,
      source: this.#sources.length / sourceWords,
      name: this.#names.length,
    };
  }

  /** The lists of the records from `from` on lie so much further on. */
  #move(from: number, by: Starts): void {
    if (by.backend === 0 && by.source === 0 && by.name === 0) return;
    const services = this.#services.elements;
    for (let base = from * recordWords; base < services.length; base += recordWords) {
      services[base + at.first_backend]! += by.backend;
      services[base + at.first_source]! += by.source;
      services[base + at.name_offset]! += by.name;
    }
  }
}

/** The records from..to, whose lists begin at `first`. The records of one service port lie together, and have its name and equal lists once. */
function write(records: readonly ServiceRecord[], from: number, to: number, first: Starts): Part {
  const services = new Uint32Array((to - from) * recordWords);
  const lists: List[] = [];
  const sources: Cidr[] = [];
  const names: Uint8Array[] = [];
  let [backend, end] = [first.backend, first.name];
  let name = new Uint8Array();
  let shared: { readonly backends: List; readonly kept: List; readonly first: number }[] = [];
  for (let i = from; i < to; i++) {
    const { key, affinitySeconds, backends, kept, drops, sources: own } = records[i]!;
    // One object for all records of a port.
    if (i === from || records[i - 1]!.key !== key) {
      shared = [];
      name = encoder.encode(records[i]!.name);
      names.push(name);
      end += name.length;
    }
    let place = shared.find((other) => other.backends === backends && other.kept === kept)?.first;
    if (place === undefined) {
      place = backend;
      shared.push({ backends, kept, first: place });
      lists.push(backends, kept);
      backend += backends.length + kept.length;
    }
    const base = (i - from) * recordWords;
    services[base + at.key] = key.low;
    services[base + at.key + 1] = key.high;
    services[base + at.name_offset] = end - name.length;
    services[base + at.name_length] = name.length;
    services[base + at.first_backend] = place;
    services[base + at.backend_count] = backends.length;
    services[base + at.kept_count] = kept.length;
    services[base + at.affinity_seconds] = affinitySeconds;
    services[base + at.first_source] = first.source + sources.length;
    services[base + at.source_count] = own.length;
    services[base + at.empty] = drops ? 1 : 0;
    for (const source of own) sources.push(source);
  }
  return {
    services,
    backends: backendsOf(lists, backend - first.backend),
    sources: sourcesOf(sources),
    names: joined(names, end - first.name),
  };
}

function backendsOf(lists: readonly List[], total: number): Uint32Array<ArrayBuffer> {
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

function sourcesOf(sources: readonly Cidr[]): Uint32Array<ArrayBuffer> {
  const writer = new SectionWriter(sections.service_sources, sources.length);
  sources.forEach(({ base, depth }, i) => {
    writer.element(i).address('base', base.words).u32('depth', depth);
  });
  return new Uint32Array(writer.bytes.buffer as ArrayBuffer);
}

function joined(parts: readonly Uint8Array[], length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  let place = 0;
  for (const part of parts) {
    bytes.set(part, place);
    place += part.length;
  }
  return bytes;
}
