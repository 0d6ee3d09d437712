/**
 * Where records answer. Several may claim one place (address, port and protocol): one has it, the others are problems, and wait for it to
 * become free. Kept claim by claim, so that a Service that comes or goes costs its own places and not those of all.
 */
import type { Problem } from '../errors/problem.js';
import { type Address, swapBytes } from '../net/address.js';
import { type Answering, type Entry, ranks } from './service-record.js';
import type { Indexed } from './sorted-list.js';

export interface NodeAddress {
  readonly address: Address;
  /** '' where its name is unknown. */
  readonly node: string;
}

/** A Service or a pod with host ports, and what it has of the layout. */
export interface Holder extends Indexed {
  /** `namespace/name`. */
  readonly key: string;
  entry: Entry;
  /** Position of its first record in the layout; -1: it is not in it. */
  base: number;
  /** Its claims in the order of its entry; null: it has not claimed anything yet. */
  claims: readonly Frontend[] | null;
}

/** Words of a key: protocol and port, as they lie in the image, and the address. */
export const keyWords = 5;

/** Those that have their place, in no particular order. As objects they would be tens of thousands to look at whenever one comes or goes. */
export interface FrontendColumns {
  readonly count: number;
  /** Little-endian. */
  readonly keys: Int32Array;
  /** Indexes into the layout's records. */
  readonly services: Int32Array;
}

export class Frontend {
  readonly address: Address;
  readonly port: number;
  /** IANA number. */
  readonly protocol: number;
  readonly rank: Answering['rank'];
  readonly holder: Holder;
  /** Index into the holder's records. */
  readonly record: number;
  /** Position in the columns; -1: somebody else has its place. */
  at = -1;

  constructor({ port, protocol, rank }: Answering, address: Address, holder: Holder, record: number) {
    this.address = address;
    this.port = port;
    this.protocol = protocol;
    this.rank = rank;
    this.holder = holder;
    this.record = record;
  }

  get name(): string {
    return this.holder.entry.records[this.record]!.name;
  }

  get place(): string {
    return `${this.protocol}|${this.port}|${this.address.text}`;
  }
}

export class Frontends {
  /** The clients' node; undefined: none in particular. */
  readonly #node: string | undefined;
  /** Who has the place. */
  readonly #held = new Map<string, Frontend>();
  readonly #list: Frontend[] = [];
  #keys = new Int32Array(64 * keyWords);
  /** Of each of the list: its holder's slot, and the record. */
  #places = new Int32Array(64 * 2);
  readonly #holders: (Holder | null)[] = [];
  readonly #slots = new Map<Holder, number>();
  readonly #free: number[] = [];
  /** All that claim a place that several do, the one that has it among them. */
  readonly #contested = new Map<string, Frontend[]>();

  constructor(node: string | undefined) {
    this.#node = node;
  }

  /** Once every holder has its base. Valid until the next claim or release. */
  columns(): FrontendColumns {
    const count = this.#list.length;
    const services = new Int32Array(count);
    const bases = new Int32Array(this.#holders.length);
    for (let i = 0; i < bases.length; i++) bases[i] = this.#holders[i]?.base ?? -1;
    for (let i = 0; i < count; i++) services[i] = bases[this.#places[2 * i]!]! + this.#places[2 * i + 1]!;
    return { count, keys: this.#keys, services };
  }

  claim(holder: Holder, nodes: readonly NodeAddress[]): void {
    const claims: Frontend[] = [];
    for (const answering of holder.entry.answering) {
      for (const [address, record] of this.#joined(answering, nodes))
        claims.push(new Frontend(answering, address, holder, record));
    }
    holder.claims = claims;
    if (claims.length === 0) return;
    const slot = this.#free.pop() ?? this.#holders.length;
    this.#holders[slot] = holder;
    this.#slots.set(holder, slot);
    for (const claim of claims) this.#add(claim);
  }

  release(holder: Holder): void {
    for (const claim of holder.claims ?? []) this.#delete(claim);
    holder.claims = null;
    const slot = this.#slots.get(holder);
    if (slot === undefined) return;
    this.#slots.delete(holder);
    this.#holders[slot] = null;
    this.#free.push(slot);
  }

  get problems(): Problem[] {
    const problems: Problem[] = [];
    for (const [place, claims] of this.#contested) {
      const holder = this.#held.get(place)!;
      for (const claim of claims) {
        // A load balancer made of host ports (K3s' own) has both at one place, and means it.
        if (claim.name !== holder.name && (claim.rank < 2 || holder.name.includes(':hostPort-')))
          problems.push(collision(claim.name, holder.name, claim.address, claim.port));
      }
    }
    return problems;
  }

  /** What is answered at nodes' addresses is so at those of `nodes`. */
  *#joined(answering: Answering, nodes: readonly NodeAddress[]): Iterable<readonly [Address, number]> {
    const { address, family, byNode, record } = answering;
    if (typeof address !== 'string') {
      // A pod may ask for any hostIP. At addresses that are not this node's it would take the traffic of others to there.
      if (answering.rank === ranks.hostAddress && !this.#isOwn(address, nodes)) return;
      yield [address, record];
      return;
    }
    for (const { address: at, node } of nodes) {
      if (at.family !== family) continue;
      const own = this.#node === undefined || node === this.#node;
      if (address === 'own' ? !own : byNode !== undefined && node === '') continue;
      const other = own ? undefined : byNode && (byNode.get(node) ?? byNode.get(''));
      yield [at, other ?? record];
    }
  }

  #isOwn({ text }: Address, nodes: readonly NodeAddress[]): boolean {
    return nodes.some(
      ({ address, node }) => address.text === text && (this.#node === undefined || node === this.#node),
    );
  }

  #add(claim: Frontend): void {
    const { place } = claim;
    const holder = this.#held.get(place);
    if (holder === undefined) {
      this.#give(place, claim);
      return;
    }
    const claims = this.#contested.get(place);
    if (claims === undefined) this.#contested.set(place, [holder, claim]);
    else claims.push(claim);
    if (compareClaims(claim, holder) < 0) this.#give(place, claim);
  }

  #delete(claim: Frontend): void {
    const { place } = claim;
    const claims = this.#contested.get(place);
    if (claims === undefined) {
      this.#held.delete(place);
      this.#unlist(claim);
      return;
    }
    const left = claims.filter((other) => other !== claim);
    if (left.length > 1) this.#contested.set(place, left);
    else this.#contested.delete(place);
    const best = left.reduce((one, other) => (compareClaims(other, one) < 0 ? other : one));
    if (this.#held.get(place) !== best) this.#give(place, best);
  }

  #give(place: string, claim: Frontend): void {
    const before = this.#held.get(place);
    if (before !== undefined) this.#unlist(before);
    this.#held.set(place, claim);
    claim.at = this.#list.push(claim) - 1;
    if (this.#list.length * 2 > this.#places.length) {
      this.#keys = grown(this.#keys);
      this.#places = grown(this.#places);
    }
    const { address, protocol, port, at } = claim;
    const key = at * keyWords;
    this.#keys[key] = (protocol << 16) | port;
    for (let word = 0; word < 4; word++) this.#keys[key + 1 + word] = swapBytes(address.words[word]!);
    this.#places[2 * at] = this.#slots.get(claim.holder)!;
    this.#places[2 * at + 1] = claim.record;
  }

  /** The last one takes its position. */
  #unlist(claim: Frontend): void {
    const last = this.#list.pop()!;
    const { at } = claim;
    claim.at = -1;
    if (last === claim) return;
    const from = last.at;
    this.#list[at] = last;
    last.at = at;
    this.#keys.copyWithin(at * keyWords, from * keyWords, (from + 1) * keyWords);
    this.#places.copyWithin(2 * at, 2 * from, 2 * from + 2);
  }
}

function grown(column: Int32Array<ArrayBuffer>): Int32Array<ArrayBuffer> {
  const larger = new Int32Array(column.length * 2);
  larger.set(column);
  return larger;
}

/** Ranks, then names, then the order in the entry; only pods have the ranks of host ports, only Services the others. */
function compareClaims(a: Frontend, b: Frontend): number {
  if (a.rank !== b.rank) return a.rank - b.rank;
  if (a.holder !== b.holder) return a.holder.key < b.holder.key ? -1 : 1;
  return a.holder.claims!.indexOf(a) - a.holder.claims!.indexOf(b);
}

function collision(name: string, holder: string, address: Address, port: number): Problem {
  return {
    code: 'service-address-conflict',
    severity: 'warning',
    message: `The service port ${name} answers on ${address.text} port ${port}, which ${holder} has already.`,
    fix: 'Give one of the services another address or port.',
  };
}
