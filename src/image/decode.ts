/**
 * Bytes → an image that answers, for tools and for the tests that compare it with the switch's own lookup and with the reference evaluator.
 * It shares the layout table with the encoder and nothing else, and goes about lookups in its own way: plain Maps where the switch
 * walks buckets, one Map per prefix length where the switch walks a trie. A fault in either shows as a difference.
 */
import type { Problem } from '../errors/problem.js';
import type { Direction } from '../model/policy.js';
import { type Address, addressOf } from '../net/address.js';
import { maskWords } from '../net/cidr.js';
import { addressFlags, none, type SectionName, sectionNames } from './layout.js';
import { type Element, readSections, type Sections, type Texts } from './read-sections.js';

export interface Classification {
  readonly peerClass: number;
  /** null unless the address is a local pod's. */
  readonly program: number | null;
  readonly pod: boolean;
  readonly local: boolean;
  readonly ownNode: boolean;
  readonly otherNode: boolean;
  readonly service: boolean;
  /** A host's address in its pod CIDR. */
  readonly forwarded: boolean;
}

export interface Verdict {
  readonly allowed: boolean;
  /** The rule that allowed; null when denied, or allowed because no policy isolates. */
  readonly rule: number | null;
}

export interface RuleName {
  readonly namespace: string;
  readonly policy: string;
  readonly direction: Direction;
  /** Position in the policy's list, from 0. */
  readonly index: number;
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

export interface FoundService {
  readonly id: number;
  readonly name: string;
  /** 16 hexadecimal digits. */
  readonly key: string;
  readonly affinitySeconds: number;
  readonly backends: readonly FoundBackend[];
  readonly kept: readonly FoundBackend[];
  /** Without backends: whether packets are dropped rather than refused. */
  readonly drops: boolean;
  readonly sources: readonly { readonly base: Address; readonly depth: number }[];
}

export interface FoundBackend {
  readonly address: Address;
  readonly port: number;
}

/** What becomes of a pod's first packet to an address: a Service's endpoints, or what happens to it instead. */
export type ServiceOutcome =
  /** No Service's: it goes where its address says. */
  | 'none'
  /** A cluster address that has no such port. */
  | 'port'
  /** The load balancer does not take the client's packets. */
  | 'source'
  /** No endpoint anywhere: refused. */
  | 'refused'
  /** None where the traffic policy asks for it: dropped. */
  | 'dropped'
  | { readonly service: FoundService };

const orNull = (index: number): number | null => (index === none ? null : index);
const decoder = new TextDecoder();

export class DecodedImage {
  readonly settings: {
    readonly ownNodeEgress: 'allow' | 'judge';
    readonly denyAction: { readonly egress: 'drop' | 'reject'; readonly ingress: 'drop' | 'reject' };
  };
  readonly #elements: Sections;
  readonly #text: Texts;
  readonly #addresses = new Map<string, Element>();
  /** By depth in the 16-byte form, then family and masked address. */
  readonly #prefixes = new Map<number, Map<string, number>>();
  readonly #depths: readonly number[];
  readonly #identityCells = new Map<number, number>();
  readonly #blockCells = new Map<number, number>();
  readonly #frontends = new Map<string, number>();

  constructor(head: Element, elements: Sections, text: Texts) {
    this.#elements = elements;
    this.#text = text;
    const action = (value: unknown) => (value === 1 ? 'reject' : 'drop');
    this.settings = {
      ownNodeEgress: head.own_node_egress === 1 ? 'judge' : 'allow',
      denyAction: { egress: action(head.deny_egress), ingress: action(head.deny_ingress) },
    };
    for (const known of elements.addresses) this.#addresses.set((known.address as Address).text, known);
    elements.prefixes.forEach(({ base, depth }, i) => {
      let same = this.#prefixes.get(depth as number);
      if (same === undefined) {
        same = new Map();
        this.#prefixes.set(depth as number, same);
      }
      // ::ffff:0:0 below depth 96 is an IPv6 prefix; from 96 on, the family is the address's own.
      const family = (depth as number) < 96 ? 6 : (base as Address).family;
      same.set(`${family}|${(base as Address).text}`, i);
    });
    this.#depths = [...this.#prefixes.keys()].sort((a, b) => b - a);
    const { length: identities } = elements.identities;
    for (const cell of elements.identity_cells) {
      this.#identityCells.set(
        (cell.row as number) * (identities + 1) + (cell.identity as number),
        cell.port_set as number,
      );
    }
    const { length: prefixes } = elements.prefixes;
    for (const cell of elements.block_cells) {
      this.#blockCells.set(
        (cell.row as number) * (prefixes + 1) + (cell.prefix as number),
        cell.port_set as number,
      );
    }
    for (const { address, port, protocol, service } of elements.frontends) {
      this.#frontends.set(`${protocol}|${port}|${(address as Address).text}`, service as number);
    }
  }

  get programCount(): number {
    return this.#elements.programs.length;
  }

  /** Elements of each section; of text its bytes. */
  get counts(): Readonly<Record<SectionName, number>> {
    const rows = sectionNames.map((name) => [
      name,
      name === 'strings' || name === 'service_strings'
        ? this.#text[name].length
        : this.#elements[name].length,
    ]);
    return Object.fromEntries(rows) as Record<SectionName, number>;
  }

  /** `namespace/name` of every policy that selects a local pod, in the order of the image. */
  get policies(): readonly string[] {
    return this.#elements.policies.map((_, index) => this.#policyName(index).join('/'));
  }

  get classCount(): number {
    return this.#elements.classes.length;
  }

  classify(address: Address): Classification {
    const known = this.#addresses.get(address.text);
    const flags = (known?.flags as number | undefined) ?? 0;
    const prefix = known === undefined ? this.longestPrefix(address) : null;
    return {
      peerClass: (known?.peer_class as number | undefined) ?? (prefix === null ? 0 : 1 + prefix),
      program: known === undefined ? null : orNull(known.program as number),
      pod: (flags & addressFlags.pod) !== 0,
      local: (flags & addressFlags.local) !== 0,
      ownNode: (flags & addressFlags.ownNode) !== 0,
      otherNode: (flags & addressFlags.otherNode) !== 0,
      service: (flags & addressFlags.service) !== 0,
      forwarded: (flags & addressFlags.forwarded) !== 0,
    };
  }

  /** Index of the longest prefix around the address, or null. */
  longestPrefix(address: Address): number | null {
    for (const depth of this.#depths) {
      if (address.family === 4 && depth < 96) break;
      const base = addressOf(maskWords(address.words, depth));
      const found = this.#prefixes.get(depth)!.get(`${address.family}|${base.text}`);
      if (found !== undefined) return found;
    }
    return null;
  }

  judge(program: number, direction: Direction, peerClass: number, protocol: number, port: number): Verdict {
    const row = this.#rowOf(program, direction);
    if (row === null) return { allowed: true, rule: null };
    const { identity, prefix } = this.#elements.classes[peerClass]!;
    const { other_ports, pod_ports } = this.#elements.rows[row]!;
    let byWho = other_ports as number;
    if (identity !== none) {
      const cell = this.#identityCells.get(
        row * (this.#elements.identities.length + 1) + (identity as number),
      );
      byWho = cell ?? (pod_ports as number);
    }
    const rules = [this.#ruleIn(byWho, protocol, port)];
    for (let at = orNull(prefix as number); at !== null; ) {
      const cell = this.#blockCells.get(row * (this.#elements.prefixes.length + 1) + at);
      if (cell !== undefined) {
        rules.push(this.#ruleIn(cell, protocol, port));
        break;
      }
      at = orNull(this.#elements.prefixes[at]!.parent as number);
    }
    const allowing = rules.filter((rule) => rule !== null);
    return allowing.length === 0
      ? { allowed: false, rule: null }
      : { allowed: true, rule: Math.min(...allowing) };
  }

  isolated(program: number, direction: Direction): boolean {
    return this.#rowOf(program, direction) !== null;
  }

  /** `namespace/name` of the policies that isolate the program in this direction. */
  isolating(program: number, direction: Direction): string[] {
    const row = this.#rowOf(program, direction);
    if (row === null) return [];
    const { first_policy, policy_count } = this.#elements.rows[row]!;
    const first = first_policy as number;
    return this.#elements.row_policies
      .slice(first, first + (policy_count as number))
      .map(({ value }) => this.#policyName(value as number).join('/'));
  }

  rule(index: number): RuleName {
    const rule = this.#elements.rules[index]!;
    const [namespace, policy] = this.#policyName(rule.policy as number);
    return {
      namespace,
      policy,
      direction: rule.direction === 0 ? 'egress' : 'ingress',
      index: rule.index as number,
      file: this.#string('strings', rule.file_offset as number, rule.file_length as number),
      line: rule.line as number,
      column: rule.column as number,
    };
  }

  /** The identity's hash as 16 hexadecimal digits, or null where the class is no pod's. */
  identityHash(peerClass: number): string | null {
    const identity = orNull(this.#elements.classes[peerClass]!.identity as number);
    return identity === null ? null : (this.#elements.identities[identity]!.hash as string);
  }

  service(protocol: number, address: Address, port: number): FoundService | undefined {
    const id = this.#frontends.get(`${protocol}|${port}|${address.text}`);
    if (id === undefined) return undefined;
    const service = this.#elements.services[id]!;
    const { first_backend, backend_count, kept_count } = service as Record<string, number>;
    const first = first_backend!;
    const kept = first + backend_count!;
    const source = service.first_source as number;
    const backends = (from: number, to: number) =>
      this.#elements.backends.slice(from, to).map(({ address: at, port: number }) => ({
        address: at as Address,
        port: number as number,
      }));
    return {
      id,
      name: this.#string('service_strings', service.name_offset as number, service.name_length as number),
      key: service.key as string,
      affinitySeconds: service.affinity_seconds as number,
      backends: backends(first, kept),
      kept: backends(kept, kept + kept_count!),
      drops: service.empty === 1,
      sources: this.#elements.service_sources
        .slice(source, source + (service.source_count as number))
        .map(({ base, depth }) => ({ base: base as Address, depth: depth as number })),
    };
  }

  /** For a client that is a pod of this node. */
  translate(client: Address, protocol: number, address: Address, port: number): ServiceOutcome {
    const service = this.service(protocol, address, port);
    if (service === undefined) return this.classify(address).service ? 'port' : 'none';
    const { sources, backends, drops } = service;
    const taken = ({ base, depth }: FoundService['sources'][number]) =>
      base.family === client.family && addressOf(maskWords(client.words, depth)).text === base.text;
    if (sources.length > 0 && !sources.some(taken)) return 'source';
    if (backends.length === 0) return drops ? 'dropped' : 'refused';
    return { service };
  }

  #rowOf(program: number, direction: Direction): number | null {
    const { egress_row, ingress_row } = this.#elements.programs[program]!;
    return orNull((direction === 'egress' ? egress_row : ingress_row) as number);
  }

  #ruleIn(set: number, protocol: number, port: number): number | null {
    const { any_rule, first_range, range_count } = this.#elements.port_sets[set]!;
    let rule = any_rule as number;
    const first = first_range as number;
    for (let i = first; i < first + (range_count as number); i++) {
      const range = this.#elements.port_ranges[i]!;
      if (range.protocol !== protocol || port < (range.first as number) || port > (range.last as number))
        continue;
      rule = Math.min(rule, range.rule as number);
    }
    return orNull(rule);
  }

  #policyName(index: number): [string, string] {
    const policy = this.#elements.policies[index]!;
    return [
      this.#string('strings', policy.namespace_offset as number, policy.namespace_length as number),
      this.#string('strings', policy.name_offset as number, policy.name_length as number),
    ];
  }

  #string(section: keyof Texts, offset: number, length: number): string {
    return decoder.decode(this.#text[section].subarray(offset, offset + length));
  }
}

/** The image in these bytes, or what is wrong with them. */
export function decode(bytes: Uint8Array): { readonly image: DecodedImage } | { readonly problem: Problem } {
  const read = readSections(bytes);
  if ('problem' in read) return read;
  return { image: new DecodedImage(read.head, read.elements, read.text) };
}
