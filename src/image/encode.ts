/**
 * Tables → bytes. Sections whose group did not change since the last image are taken over as they are, checksum included; the rest is written
 * anew. Nothing here depends on what was encoded before: a fresh encoder makes the same bytes.
 */
import { swapBytes } from '../net/address.js';
import type { KnownAddress } from '../policy/address-table.js';
import { keyWords } from '../policy/frontends.js';
import { type TrieNode, trieNodes } from '../policy/prefix-table.js';
import type { Group, PolicyTables } from '../policy/tables.js';
import { assemble, type Section, type Seeds } from './assemble.js';
import { type Buckets, makeBuckets } from './buckets.js';
import { ServiceSections } from './encode-services.js';
import { checksum, finish, mixWord } from './hash.js';
import { addressFlags, none, type SectionName, sections } from './layout.js';
import { SectionWriter, TextBytes, TextPool } from './writer.js';

const indexOf = (item: { readonly index: number } | null): number => (item === null ? none : item.index);

export class ImageEncoder {
  readonly #sections = new Map<SectionName, Section>();
  readonly #versions = new Map<Group, number>();
  readonly #policyTexts = new TextBytes();
  readonly #seeds: Seeds = {
    identity_cell_seed: 0,
    block_cell_seed: 0,
    address_seed: 0,
    frontend_seed: 0,
  };
  /** Known addresses in the order of the image, and the words of their section. */
  #places: readonly KnownAddress[] = [];
  #addressWords = new Int32Array();
  /** By place, beside the objects: all classes may move by one, and then every address is looked at. -1: it has no pod class. */
  #slots = new Int32Array();
  #flags = new Uint8Array();
  readonly #serviceSections = new ServiceSections();

  /** The image of these tables, in `room` if it fits. The bytes are the caller's; the encoder keeps no hold of them. */
  encode(tables: PolicyTables, room?: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
    const steps: Readonly<Record<Group, () => void>> = {
      policies: () => this.#policies(tables),
      portSets: () => this.#portSets(tables),
      rows: () => this.#rows(tables),
      programs: () => this.#programs(tables),
      identityCells: () => this.#identityCells(tables),
      blockCells: () => this.#blockCells(tables),
      identities: () => this.#identities(tables),
      prefixes: () => this.#prefixes(tables),
      classes: () => this.#classes(tables),
      population: () => this.#population(tables),
      addresses: () => this.#addresses(tables),
      frontends: () => this.#frontends(tables),
      services: () => this.#services(tables),
    };
    for (const [group, step] of Object.entries(steps) as [Group, () => void][]) {
      const version = tables.versions[group];
      if (this.#versions.get(group) === version) continue;
      step();
      this.#versions.set(group, version);
    }
    return assemble(this.#sections, this.#seeds, tables.settings, room);
  }

  /** `bytes` were made anew; where they came out the same they need no new checksum. */
  #set(name: SectionName, bytes: Uint8Array): void {
    const before = this.#sections.get(name)?.bytes;
    if (before === undefined || before.length !== bytes.length || Buffer.compare(before, bytes) !== 0)
      this.#changed(name, bytes);
  }

  /** `bytes` may be those of the section before, written over. */
  #changed(name: SectionName, bytes: Uint8Array): void {
    this.#sections.set(name, { bytes, checksum: checksum(bytes) });
  }

  #policies({ policies, rules }: PolicyTables): void {
    const text = new TextPool(this.#policyTexts);
    const policy = new SectionWriter(sections.policies, policies.length);
    policies.forEach(({ policy: { namespace, name } }, i) => {
      const [space, own] = [text.put(namespace), text.put(name)];
      policy
        .element(i)
        .u32('namespace_offset', space.offset)
        .u32('namespace_length', space.length)
        .u32('name_offset', own.offset)
        .u32('name_length', own.length);
    });
    const rule = new SectionWriter(sections.rules, rules.length);
    rules.forEach((entry, i) => {
      const { source } = entry.rule;
      const file = text.put(source?.file ?? '');
      rule
        .element(i)
        .u32('policy', entry.policy.index)
        .u32('direction', entry.direction === 'egress' ? 0 : 1)
        .u32('index', entry.position)
        .u32('line', source?.line ?? 0)
        .u32('column', source?.column ?? 0)
        .u32('file_offset', file.offset)
        .u32('file_length', file.length);
    });
    this.#set('strings', text.bytes());
    this.#set('policies', policy.bytes);
    this.#set('rules', rule.bytes);
  }

  #portSets({ portSets }: PolicyTables): void {
    const sets = new SectionWriter(sections.port_sets, portSets.length);
    const total = portSets.reduce((sum, set) => sum + set.ranges.length, 0);
    const ranges = new SectionWriter(sections.port_ranges, total);
    let next = 0;
    portSets.forEach((set, i) => {
      sets
        .element(i)
        .u32('any_rule', set.any === null ? none : set.any.order)
        .u32('first_range', next)
        .u32('range_count', set.ranges.length);
      for (const range of set.ranges) {
        ranges
          .element(next++)
          .u16('first', range.first)
          .u16('last', range.last)
          .u8('protocol', range.protocol)
          .u32('rule', range.rule.order);
      }
    });
    this.#set('port_sets', sets.bytes);
    this.#set('port_ranges', ranges.bytes);
  }

  #rows({ rows }: PolicyTables): void {
    const row = new SectionWriter(sections.rows, rows.length);
    const total = rows.reduce((sum, { policies }) => sum + policies.length, 0);
    const policy = new SectionWriter(sections.row_policies, total);
    let next = 0;
    rows.forEach((one, i) => {
      row
        .element(i)
        .u32('direction', one.direction === 'egress' ? 0 : 1)
        .u32('other_ports', one.other.index)
        .u32('pod_ports', one.pods.index)
        .u32('first_policy', next)
        .u32('policy_count', one.policies.length);
      for (const { index } of one.policies) policy.element(next++).u32('value', index);
    });
    this.#set('rows', row.bytes);
    this.#set('row_policies', policy.bytes);
  }

  #programs({ programs }: PolicyTables): void {
    const writer = new SectionWriter(sections.programs, programs.length);
    programs.forEach(({ egress, ingress }, i) => {
      writer.element(i).u32('egress_row', indexOf(egress)).u32('ingress_row', indexOf(ingress));
    });
    this.#set('programs', writer.bytes);
  }

  #identityCells({ rows }: PolicyTables): void {
    const cells = new Uint32Array(3 * rows.reduce((sum, row) => sum + row.cells.size, 0));
    let next = 0;
    for (const row of rows) {
      for (const [identity, set] of row.cells) {
        cells[next++] = row.index;
        cells[next++] = identity.index;
        cells[next++] = set.index;
      }
    }
    this.#cells('identity', cells);
  }

  #blockCells({ rows }: PolicyTables): void {
    const cells = new Uint32Array(3 * rows.reduce((sum, row) => sum + row.blockCells.length, 0));
    let next = 0;
    for (const row of rows) {
      for (const { prefix, set } of row.blockCells) {
        cells[next++] = row.index;
        cells[next++] = prefix.index;
        cells[next++] = set.index;
      }
    }
    this.#cells('block', cells);
  }

  /** `cells` holds triples (row, column, port set). */
  #cells(kind: 'identity' | 'block', cells: Uint32Array): void {
    const count = cells.length / 3;
    const buckets = makeBuckets(
      count,
      (i, seed) => finish(mixWord(mixWord(seed, cells[3 * i]!), cells[3 * i + 1]!), 2),
      (a, b) =>
        cells[3 * a]! - cells[3 * b]! < 0 ||
        (cells[3 * a] === cells[3 * b] && cells[3 * a + 1]! < cells[3 * b + 1]!),
    );
    this.#seeds[`${kind}_cell_seed`] = buckets.seed;
    this.#buckets(`${kind}_buckets`, buckets);
    const column = kind === 'identity' ? sections.identity_cells.at.identity : sections.block_cells.at.prefix;
    const { size, at } = sections.identity_cells;
    const words = new Uint32Array((size / 4) * count);
    for (let position = 0; position < count; position++) {
      const cell = 3 * buckets.order[position]!;
      const base = (position * size) / 4;
      words[base + at.row / 4] = cells[cell]!;
      words[base + column / 4] = cells[cell + 1]!;
      words[base + at.port_set / 4] = cells[cell + 2]!;
    }
    this.#set(`${kind}_cells`, new Uint8Array(words.buffer));
  }

  #buckets(
    name: 'identity_buckets' | 'block_buckets' | 'address_buckets' | 'frontend_buckets',
    of: Buckets,
  ): void {
    this.#set(name, new Uint8Array(of.starts.buffer, of.starts.byteOffset, of.starts.byteLength));
  }

  #identities({ identities }: PolicyTables): void {
    const writer = new SectionWriter(sections.identities, identities.length);
    identities.forEach(({ hash }, i) => {
      writer.element(i).u64('hash', hash.high, hash.low);
    });
    this.#set('identities', writer.bytes);
  }

  #prefixes({ prefixes, tries }: PolicyTables): void {
    const writer = new SectionWriter(sections.prefixes, prefixes.length);
    prefixes.forEach(({ cidr, parent }, i) => {
      writer
        .element(i)
        .address('base', cidr.base.words)
        .u32('depth', cidr.depth)
        .u32('parent', indexOf(parent));
    });
    this.#set('prefixes', writer.bytes);
    this.#trie('trie4', tries[4]);
    this.#trie('trie6', tries[6]);
  }

  #trie(name: 'trie4' | 'trie6', root: TrieNode): void {
    const nodes = trieNodes(root);
    const position = new Map(nodes.map((node, i) => [node, i]));
    const place = (node: TrieNode | null) => (node === null ? none : position.get(node)!);
    const writer = new SectionWriter(sections[name], nodes.length);
    nodes.forEach((node, i) => {
      writer
        .element(i)
        .address('key', node.words)
        .u32('depth', node.depth)
        .u32('prefix', indexOf(node.prefix))
        .u32('child0', place(node.child0))
        .u32('child1', place(node.child1));
    });
    this.#set(name, writer.bytes);
  }

  #classes({ classes, prefixes }: PolicyTables): void {
    const writer = new SectionWriter(sections.classes, 1 + prefixes.length + classes.length);
    writer.element(0).u32('identity', none).u32('prefix', none);
    for (let i = 0; i < prefixes.length; i++)
      writer
        .element(1 + i)
        .u32('identity', none)
        .u32('prefix', i);
    classes.forEach(({ identity, prefix }, i) => {
      writer
        .element(1 + prefixes.length + i)
        .u32('identity', identity.index)
        .u32('prefix', indexOf(prefix));
    });
    this.#set('classes', writer.bytes);
  }

  /** The places of addresses; laid out anew only when addresses come or go. */
  #population({ addresses }: PolicyTables): void {
    const entries = [...addresses.values()];
    const packed = new Int32Array(4 * entries.length);
    for (let i = 0; i < entries.length; i++) {
      const entry = entries[i]!;
      packed[4 * i] = entry.packed0;
      packed[4 * i + 1] = entry.packed1;
      packed[4 * i + 2] = entry.packed2;
      packed[4 * i + 3] = entry.packed3;
    }
    const buckets = makeBuckets(
      entries.length,
      (i, seed) => {
        let hash = mixWord(seed, packed[4 * i]!);
        hash = mixWord(hash, packed[4 * i + 1]!);
        hash = mixWord(hash, packed[4 * i + 2]!);
        return finish(mixWord(hash, packed[4 * i + 3]!), 4);
      },
      (a, b) => {
        for (let word = 0; word < 4; word++) {
          const difference = packed[4 * a + word]! - packed[4 * b + word]!;
          if (difference !== 0) return difference < 0;
        }
        return false;
      },
    );
    this.#seeds.address_seed = buckets.seed;
    this.#buckets('address_buckets', buckets);
    this.#places = Array.from(buckets.order, (from) => entries[from]!);
    const { size, at } = sections.addresses;
    this.#addressWords = new Int32Array((size / 4) * entries.length);
    for (let position = 0; position < entries.length; position++) {
      entries[buckets.order[position]!]!.place = position;
      const from = 4 * buckets.order[position]!;
      const to = (position * size + at.address) / 4;
      for (let word = 0; word < 4; word++) this.#addressWords[to + word] = packed[from + word]!;
    }
    this.#slots = new Int32Array(entries.length);
    this.#flags = new Uint8Array(entries.length);
    for (const entry of entries) this.#notice(entry);
  }

  #notice(entry: KnownAddress): void {
    this.#slots[entry.place] = entry.podClass === null ? -1 : entry.podClass.slot;
    this.#flags[entry.place] = flagsOf(entry);
  }

  /** What stands beside the addresses. */
  #addresses(tables: PolicyTables): void {
    const { size, at } = sections.addresses;
    const words = this.#addressWords;
    const prefixes = tables.prefixes.length;
    for (const entry of tables.takeChangedAddresses())
      if (this.#places[entry.place] === entry) this.#notice(entry);
    const classes = new Int32Array(tables.classSlots);
    for (const { slot, index } of tables.classes) classes[slot] = 1 + prefixes + index;
    const [classAt, programAt, flagsAt] = [at.peer_class / 4, at.program / 4, at.flags / 4];
    // The section is these words, so what has come out the same has to be noticed here.
    let changed = this.#sections.get('addresses')?.bytes.buffer !== words.buffer;
    for (let place = 0; place < this.#places.length; place++) {
      const base = (place * size) / 4;
      const slot = this.#slots[place]!;
      const flags = this.#flags[place]!;
      const ofClass = (slot >= 0 ? classes[slot]! : classWithoutPod(this.#places[place]!)) | 0;
      const program = ((flags & addressFlags.local) === 0 ? none : this.#places[place]!.program!.index) | 0;
      changed ||=
        words[base + classAt] !== ofClass ||
        words[base + programAt] !== program ||
        words[base + flagsAt] !== flags;
      words[base + classAt] = ofClass;
      words[base + programAt] = program;
      words[base + flagsAt] = flags;
    }
    if (changed) this.#changed('addresses', new Uint8Array(words.buffer));
  }

  #services({ services: { records } }: PolicyTables): void {
    const parts = this.#serviceSections;
    const first = !this.#sections.has('services');
    const { backends, sources, names } = parts.update(records);
    this.#changed('services', parts.services);
    if (first || backends) this.#changed('backends', parts.backends);
    if (first || sources) this.#changed('service_sources', parts.sources);
    if (first || names) this.#changed('service_strings', parts.names);
  }

  /** Where services answer. */
  #frontends({ services }: PolicyTables): void {
    const { count, keys, services: indexes } = services.frontends();
    const buckets = makeBuckets(
      count,
      (i, seed) => {
        let hash = seed;
        for (let word = i * keyWords; word < (i + 1) * keyWords; word++) hash = mixWord(hash, keys[word]!);
        return finish(hash, keyWords);
      },
      (a, b) => {
        for (let word = 0; word < keyWords; word++) {
          const [x, y] = [keys[a * keyWords + word]!, keys[b * keyWords + word]!];
          if (x !== y) return word === 0 ? x < y : swapBytes(x) >>> 0 < swapBytes(y) >>> 0;
        }
        return false;
      },
    );
    this.#seeds.frontend_seed = buckets.seed;
    this.#buckets('frontend_buckets', buckets);
    const { size, at } = sections.frontends;
    const words = new Int32Array((size / 4) * count);
    for (let position = 0; position < count; position++) {
      const from = buckets.order[position]!;
      const key = from * keyWords;
      const base = (position * size) / 4;
      for (let word = 0; word < 4; word++) words[base + at.address / 4 + word] = keys[key + 1 + word]!;
      words[base + at.port / 4] = keys[key]!;
      words[base + at.service / 4] = indexes[from]!;
    }
    this.#set('frontends', new Uint8Array(words.buffer));
  }
}

/** What a host masquerades is in no ipBlock: only rules for everybody admit it, as they do what no prefix names. */
function classWithoutPod({ prefix, forwarded }: KnownAddress): number {
  return prefix === null || forwarded ? 0 : 1 + prefix.index;
}

function flagsOf(entry: KnownAddress): number {
  return (
    (entry.owner === null ? 0 : addressFlags.pod) |
    (entry.program === null ? 0 : addressFlags.local) |
    (entry.node === 'own' ? addressFlags.ownNode : 0) |
    (entry.node === 'other' ? addressFlags.otherNode : 0) |
    (entry.service ? addressFlags.service : 0) |
    (entry.forwarded ? addressFlags.forwarded : 0)
  );
}
