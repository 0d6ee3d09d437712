/**
 * Where records answer. Several may claim one place (address, port and protocol): one has it, the others are problems, and wait for it to
 * become free. Kept claim by claim, so that a Service that comes or goes costs its own places and not those of all.
 */
import type { Problem } from '../errors/problem.js';
import type { Address } from '../net/address.js';
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

export class Frontend {
  readonly address: Address;
  readonly port: number;
  /** IANA number. */
  readonly protocol: number;
  readonly rank: Answering['rank'];
  readonly holder: Holder;
  /** Index into the holder's records. */
  readonly record: number;

  constructor({ port, protocol, rank }: Answering, address: Address, holder: Holder, record: number) {
    this.address = address;
    this.port = port;
    this.protocol = protocol;
    this.rank = rank;
    this.holder = holder;
    this.record = record;
  }

  /** Index into the layout's records. */
  get service(): number {
    return this.holder.base + this.record;
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
  /** All that claim a place that several do, the one that has it among them. */
  readonly #contested = new Map<string, Frontend[]>();

  constructor(node: string | undefined) {
    this.#node = node;
  }

  get size(): number {
    return this.#held.size;
  }

  /** Those that have their place, in no particular order. */
  values(): Iterable<Frontend> {
    return this.#held.values();
  }

  claim(holder: Holder, nodes: readonly NodeAddress[]): void {
    const claims: Frontend[] = [];
    for (const answering of holder.entry.answering) {
      for (const [address, record] of this.#places(answering, nodes))
        claims.push(new Frontend(answering, address, holder, record));
    }
    holder.claims = claims;
    for (const claim of claims) this.#add(claim);
  }

  release(holder: Holder): void {
    for (const claim of holder.claims ?? []) this.#delete(claim);
    holder.claims = null;
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
  *#places(answering: Answering, nodes: readonly NodeAddress[]): Iterable<readonly [Address, number]> {
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
      this.#held.set(place, claim);
      return;
    }
    const claims = this.#contested.get(place);
    if (claims === undefined) this.#contested.set(place, [holder, claim]);
    else claims.push(claim);
    if (compareClaims(claim, holder) < 0) this.#held.set(place, claim);
  }

  #delete(claim: Frontend): void {
    const { place } = claim;
    const claims = this.#contested.get(place);
    if (claims === undefined) {
      this.#held.delete(place);
      return;
    }
    const left = claims.filter((other) => other !== claim);
    if (left.length > 1) this.#contested.set(place, left);
    else this.#contested.delete(place);
    this.#held.set(
      place,
      left.reduce((best, other) => (compareClaims(other, best) < 0 ? other : best)),
    );
  }
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
