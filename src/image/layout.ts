/**
 * The image format, described once. The TypeScript encoder and decoder take sizes and offsets from this table, and
 * `native/generated/layout.h` is generated from it (`npm run generate`), so that the two sides cannot drift apart unnoticed.
 *
 * An image is a header, a table of sections, and the sections. Everything is little-endian; sections hold elements of one fixed size and
 * refer to each other by index, never by pointer. Addresses are 16 bytes in network order (IPv4 as ::ffff:a.b.c.d).
 *
 * Alignment: a section of 64 KB or more starts on a 64 KB boundary, which suits every page size of the boards we run on (4, 16 and
 * 64 KB) and lets such a section be reused or written page-wise; smaller ones start on a cache line. Aligning all of them to 64 KB
 * would make the image of a three-pod lab 1.5 MB of zeros, and the switch copies an image anyway before it believes it. Bytes between
 * sections are zero.
 *
 * Hash tables have two sections: `…_buckets` holds, for each bucket and one past the last, the index of its first element; the elements
 * of a bucket lie together. There is no chain that could loop. The number of buckets is a power of two; the seed is in the header.
 */
export type FieldType = 'u8' | 'u16' | 'u32' | 'u64' | 'address';

export interface Field {
  readonly name: string;
  readonly type: FieldType;
  readonly offset: number;
  readonly size: number;
  readonly help: string;
}

export interface Struct<N extends string = string, F extends string = string> {
  readonly name: N;
  readonly help: string;
  readonly size: number;
  readonly fields: readonly Field[];
  /** Byte offset of each field by name. */
  readonly at: Readonly<Record<F, number>>;
}

const sizes: Readonly<Record<FieldType, number>> = { u8: 1, u16: 2, u32: 4, u64: 8, address: 16 };
const alignments: Readonly<Record<FieldType, number>> = { u8: 1, u16: 2, u32: 4, u64: 8, address: 1 };

function struct<const N extends string, const R extends readonly (readonly [string, FieldType, string])[]>(
  name: N,
  help: string,
  rows: R,
): Struct<N, R[number][0]> {
  let offset = 0;
  let alignment = 1;
  const fields: Field[] = [];
  for (const [field, type, text] of rows) {
    if (offset % alignments[type] !== 0) throw new Error(`${name}.${field} needs padding before it`);
    fields.push({ name: field, type, offset, size: sizes[type], help: text });
    offset += sizes[type];
    alignment = Math.max(alignment, alignments[type]);
  }
  if (offset % alignment !== 0) throw new Error(`${name} needs padding at its end`);
  const at = Object.fromEntries(fields.map((field) => [field.name, field.offset])) as Record<
    R[number][0],
    number
  >;
  return { name, help, size: offset, fields, at };
}

/** "WEFTIMG" and a zero. */
export const magic = [0x57, 0x45, 0x46, 0x54, 0x49, 0x4d, 0x47, 0x00] as const;
export const formatVersion = 1;
/** An index that points nowhere. */
export const none = 0xffffffff;
export const cacheLine = 64;
export const pageAlignment = 65_536;
/** A bucket longer than this is refused: a lookup's cost must not be the sender's choice. */
export const maxBucket = 32;
/** Nesting of prefixes is at most one per bit. */
export const maxNesting = 129;
export const maxImageSize = 0x7fff_0000;

export const header = struct('ImageHeader', 'First bytes of an image.', [
  ['magic', 'u64', 'magic bytes, in file order'],
  ['version', 'u32', 'format version'],
  ['header_size', 'u32', 'bytes of this header and the section table'],
  ['total_size', 'u32', 'bytes of the whole image'],
  ['section_count', 'u32', 'entries of the section table, which follows'],
  ['checksum', 'u64', 'of header and section table, with this field zero'],
  ['identity_cell_seed', 'u32', 'hash seed'],
  ['block_cell_seed', 'u32', 'hash seed'],
  ['address_seed', 'u32', 'hash seed'],
  ['frontend_seed', 'u32', 'hash seed'],
  ['own_node_egress', 'u8', '0: a pod may always reach its own node, 1: judged'],
  ['deny_egress', 'u8', '0: drop, 1: reject'],
  ['deny_ingress', 'u8', '0: drop, 1: reject'],
  ['reserved0', 'u8', 'zero'],
  ['reserved1', 'u32', 'zero'],
]);

export const sectionEntry = struct('ImageSection', 'One entry of the section table.', [
  ['offset', 'u32', 'from the start of the image'],
  ['size', 'u32', 'bytes; element size times count'],
  ['element_size', 'u32', 'as in the layout table'],
  ['count', 'u32', 'elements'],
  ['checksum', 'u64', 'of the section'],
]);

const word = struct('ImageWord', 'A plain index.', [['value', 'u32', '']]);

/** The sections, in file order. The order is part of the format. */
export const sections = {
  strings: struct('ImageText', 'UTF-8 bytes that others point into by offset and length.', [
    ['byte', 'u8', ''],
  ]),
  policies: struct('ImagePolicy', 'A policy that selects a local pod; sorted by namespace and name.', [
    ['namespace_offset', 'u32', 'into strings'],
    ['namespace_length', 'u32', ''],
    ['name_offset', 'u32', 'into strings'],
    ['name_length', 'u32', ''],
  ]),
  rules: struct('ImageRule', 'A rule of such a policy; sorted by policy, direction, index.', [
    ['policy', 'u32', 'into policies'],
    ['direction', 'u32', '0 egress, 1 ingress'],
    ['index', 'u32', 'position in the policy, from 0'],
    ['line', 'u32', 'in its file, from 1; 0 unknown'],
    ['column', 'u32', ''],
    ['file_offset', 'u32', 'into strings'],
    ['file_length', 'u32', ''],
  ]),
  port_sets: struct('ImagePortSet', 'What a cell allows. Set 0 is empty.', [
    ['any_rule', 'u32', 'rule that allows every protocol and port, or none'],
    ['first_range', 'u32', 'into port_ranges'],
    ['range_count', 'u32', ''],
  ]),
  port_ranges: struct(
    'ImagePortRange',
    'Ports of one protocol; within a set sorted by protocol and first, disjoint.',
    [
      ['first', 'u16', ''],
      ['last', 'u16', 'inclusive'],
      ['protocol', 'u8', 'IANA number'],
      ['reserved0', 'u8', 'zero'],
      ['reserved1', 'u16', 'zero'],
      ['rule', 'u32', 'the first rule that allows them'],
    ],
  ),
  row_policies: { ...word, help: 'The policies that isolate a row.' } as typeof word,
  rows: struct('ImageRow', 'One direction of a program that is isolated in that direction.', [
    ['direction', 'u32', '0 egress, 1 ingress'],
    ['other_ports', 'u32', 'port set for peers that are no pod, whatever their address'],
    ['pod_ports', 'u32', 'port set for pods whose identity has no cell'],
    ['first_policy', 'u32', 'into row_policies'],
    ['policy_count', 'u32', 'at least one'],
  ]),
  programs: struct('ImageProgram', 'The policy of local pods that no policy tells apart.', [
    ['egress_row', 'u32', 'or none: not isolated'],
    ['ingress_row', 'u32', 'or none: not isolated'],
  ]),
  identity_buckets: word,
  identity_cells: struct(
    'ImageIdentityCell',
    'What a row allows to one identity; hashed by (row, identity).',
    [
      ['row', 'u32', ''],
      ['identity', 'u32', ''],
      ['port_set', 'u32', ''],
    ],
  ),
  block_buckets: word,
  block_cells: struct(
    'ImageBlockCell',
    "What a row's ipBlocks allow to addresses below a prefix, where that differs from the prefix around it; hashed by (row, prefix).",
    [
      ['row', 'u32', ''],
      ['prefix', 'u32', ''],
      ['port_set', 'u32', ''],
    ],
  ),
  identities: struct('ImageIdentity', 'Pods that no policy here tells apart; sorted by hash.', [
    ['hash', 'u64', 'of the canonical bytes'],
  ]),
  prefixes: struct(
    'ImagePrefix',
    'A prefix that some ipBlock or exception names; a prefix follows those around it.',
    [
      ['base', 'address', 'first address'],
      ['depth', 'u32', 'length in the 16-byte form'],
      ['parent', 'u32', 'the narrowest prefix around it, or none'],
    ],
  ),
  classes: struct(
    'ImageClass',
    'Peer class. 0 is the rest of the world that no prefix names, and what hosts masquerade; 1 + p every non-pod address whose longest prefix is p; then those of pods.',
    [
      ['identity', 'u32', 'or none'],
      ['prefix', 'u32', 'longest prefix that contains the address, or none'],
    ],
  ),
  trie4: struct(
    'ImageTrieNode',
    'Path-compressed binary trie. Node 0 is the root; children follow their parent and are deeper.',
    [
      ['key', 'address', 'bits before depth; the rest zero'],
      ['depth', 'u32', 'bits of the 16-byte form that the node fixes'],
      ['prefix', 'u32', 'the prefix that is this node, or none'],
      ['child0', 'u32', 'where the next bit is 0, or none'],
      ['child1', 'u32', 'where the next bit is 1, or none'],
    ],
  ),
  trie6: struct('ImageTrieNode', 'As trie4.', [
    ['key', 'address', 'bits before depth; the rest zero'],
    ['depth', 'u32', 'bits of the 16-byte form that the node fixes'],
    ['prefix', 'u32', 'the prefix that is this node, or none'],
    ['child0', 'u32', 'where the next bit is 0, or none'],
    ['child1', 'u32', 'where the next bit is 1, or none'],
  ]),
  address_buckets: word,
  addresses: struct('ImageAddress', 'An address known exactly; hashed by address.', [
    ['address', 'address', ''],
    ['peer_class', 'u32', 'into classes'],
    ['program', 'u32', 'of a local pod, else none'],
    ['flags', 'u32', 'kAddress…'],
  ]),
  frontend_buckets: word,
  frontends: struct('ImageFrontend', 'Where a service answers; hashed by (protocol and port, address).', [
    ['address', 'address', ''],
    ['port', 'u16', ''],
    ['protocol', 'u8', 'IANA number'],
    ['reserved', 'u8', 'zero'],
    ['service', 'u32', 'into services'],
  ]),
  services: struct(
    'ImageService',
    'Endpoints that some addresses of one port of one Service lead to, in one family; sorted by name.',
    [
      [
        'key',
        'u64',
        'of the port: hash of the name, the same in every image and for all records of the port',
      ],
      ['name_offset', 'u32', 'into service_strings'],
      ['name_length', 'u32', ''],
      ['first_backend', 'u32', 'into backends'],
      ['backend_count', 'u32', 'of new flows'],
      ['kept_count', 'u32', 'after those: of flows begun earlier only'],
      ['affinity_seconds', 'u32', '0: none'],
      ['first_source', 'u32', 'into service_sources'],
      ['source_count', 'u32', '0: any client'],
      ['empty', 'u32', 'without backends: 0: the client is refused, 1: its packets are dropped'],
      ['reserved', 'u32', 'zero'],
    ],
  ),
  backends: struct(
    'ImageBackend',
    'An endpoint; those of new flows and those kept each ascend by address, then port.',
    [
      ['address', 'address', ''],
      ['port', 'u16', ''],
      ['reserved', 'u16', 'zero'],
    ],
  ),
  service_sources: struct('ImageSource', 'A block of clients that a load balancer takes packets from.', [
    ['base', 'address', 'first address'],
    ['depth', 'u32', 'length in the 16-byte form'],
  ]),
  service_strings: struct('ImageText', 'Text of services, apart so that a change of one leaves the other.', [
    ['byte', 'u8', ''],
  ]),
} as const;

export type SectionName = keyof typeof sections;
export const sectionNames = Object.keys(sections) as SectionName[];

export const addressFlags = {
  pod: 1,
  local: 2,
  ownNode: 4,
  otherNode: 8,
  service: 16,
  forwarded: 32,
} as const;
