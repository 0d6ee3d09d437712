/**
 * Which pod has which addresses, remembered across restarts of the agent: every change is a line of a journal (journal.ts), replayed
 * at start, so that a restarted agent gives out addresses in exactly the order in which the old one would have. When the journal holds
 * several times more lines than there is state, it is rewritten.
 *
 * `details` is what the owner needs to bring the attachment back (namespace path, interface name): kept in the same line as the
 * addresses, so that the two cannot disagree. This module does not look into it.
 *
 * The pools can change while there are leases: a node's CIDRs come late, or are replaced. They are written to the journal too, so
 * that a restart has them without the API. A lease of a pool that was replaced stays what it is until it is released; what is new
 * comes from the new pools.
 */
import type { Problem } from '../errors/problem.js';
import { type Address, addressOf, parseAddress } from '../net/address.js';
import { type Cidr, contains, parseCidr } from '../net/cidr.js';
import { Journal } from './journal.js';
import { AddressPool } from './pool.js';

export interface Lease<Details = unknown> {
  /** Unique among all leases; the key to release it. */
  readonly id: string;
  /** `namespace/name`, for messages. */
  readonly owner: string;
  readonly addresses: readonly Address[];
  readonly details: Details;
}

export type LeaseResult<Details> =
  | { readonly lease: Lease<Details>; readonly problem?: never }
  | { readonly lease?: never; readonly problem: Problem };

/** Addresses that must be given. */
export interface Wish {
  readonly addresses: readonly Address[];
  /**
   * `assigned`: by a person, in a manifest; exactly these, wherever they lie. `requested`: by the caller of CNI; they have to lie in
   * the pools, and a family that is not named is given from its pool.
   */
  readonly by: 'assigned' | 'requested';
}

export interface PoolUse {
  readonly cidr: string;
  readonly used: number;
  readonly total: bigint;
}

type Line<Details> =
  | {
      readonly lease: string;
      readonly owner: string;
      readonly addresses: readonly string[];
      readonly details: Details;
    }
  | { readonly release: string }
  /** The pools from here on. */
  | { readonly cidrs: readonly string[] }
  /** First line of a rewritten journal: the pool's order. */
  | { readonly pool: string; readonly cursor: string; readonly released: readonly string[] };

interface Pool {
  readonly cidr: Cidr;
  readonly pool: AddressPool;
}

export class Leases<Details = unknown> {
  readonly #journal: Journal<Line<Details>>;
  /** By the text of the CIDR; those that were replaced stay as long as they have leases, with their order. */
  readonly #pools = new Map<string, Pool>();
  /** Where new leases come from; at most one of each family. */
  #active: readonly Pool[] = [];
  readonly #leases = new Map<string, Lease<Details>>();
  /** Lease id by address text, for addresses inside and outside of the pools. */
  readonly #holders = new Map<string, string>();
  readonly #isDetails: (value: unknown) => value is Details;

  /**
   * Reads the journal if there is one. `cidrs`: at most one of each family; empty: those that the journal names last, or none.
   * Unreadable lines are reported, not fatal; so are those whose details are none to `isDetails`.
   */
  constructor(
    file: string,
    cidrs: readonly Cidr[],
    report: (problem: Problem) => void = () => {},
    isDetails: (value: unknown) => value is Details = (_value): _value is Details => true,
  ) {
    this.#journal = new Journal(file);
    this.#isDetails = isDetails;
    this.#activate(cidrs);
    this.#journal.replay(
      (line) => this.#replayLine(line, cidrs.length === 0),
      (line, problem) =>
        report({
          code: 'leases-damaged',
          severity: 'warning',
          message: `A line of the lease journal cannot be read (${problem}); it is left out.`,
          source: { file, line },
        }),
    );
  }

  get cidrs(): readonly Cidr[] {
    return this.#active.map(({ cidr }) => cidr);
  }

  /** From now on addresses come from these, at most one of each family; remembered. A CIDR that stays keeps its order. false: so they do already. */
  setCidrs(cidrs: readonly Cidr[]): boolean {
    if (sameTexts(this.cidrs, cidrs)) return false;
    this.#activate(cidrs);
    try {
      this.#append({ cidrs: cidrs.map(({ text }) => text) });
    } catch {
      // In force all the same. What is lost is lost at a restart only, and then the source tells it again.
    }
    this.#compact();
    return true;
  }

  get(id: string): Lease<Details> | undefined {
    return this.#leases.get(id);
  }

  list(): readonly Lease<Details>[] {
    return [...this.#leases.values()];
  }

  use(): readonly PoolUse[] {
    return this.#active.map(({ cidr, pool }) => ({ cidr: cidr.text, used: pool.used, total: pool.total }));
  }

  /** Addresses of leases that come from a pool that was replaced. */
  leftOver(): readonly Address[] {
    const replaced = [...this.#pools.values()].filter((pool) => !this.#active.includes(pool));
    if (replaced.length === 0) return [];
    return this.list()
      .flatMap(({ addresses }) => addresses)
      .filter(
        (address) =>
          replaced.some(({ cidr }) => contains(cidr, address)) &&
          !this.#active.some(({ cidr }) => contains(cidr, address)),
      );
  }

  /** The node's own address in each pod CIDR: the one after the network address, which no pod gets. */
  nodeAddresses(): readonly Address[] {
    return this.#active.map(({ cidr }) => fromInteger(toInteger(cidr.base) + 1n, cidr.family));
  }

  /**
   * Gives the addresses of the wish, and one of each family of the pools otherwise. All or nothing; written to the journal before
   * it returns. The same id again answers the same lease (with the new details), unless it wishes for others; where those are
   * refused it keeps what it has.
   */
  allocate(id: string, owner: string, details: Details, wish: Wish = noWish): LeaseResult<Details> {
    const known = this.#leases.get(id);
    if (known !== undefined && grants(wish, known.addresses))
      return this.#record({ ...known, owner, details });
    const addresses: Address[] = [];
    for (const address of wish.addresses) {
      const refused = this.#refuse(address, id, owner, wish.by);
      if (refused !== null) return refused;
      addresses.push(address);
    }
    if (addresses.length === 0 || wish.by === 'requested') {
      const families = new Set(addresses.map(({ family }) => family));
      const missing = this.#active.filter(({ cidr }) => !families.has(cidr.family));
      if (missing.length === 0 && addresses.length === 0)
        return refusal(
          'pod-cidrs-missing',
          `This node has no pod CIDR yet, so ${owner} gets no address.`,
          'Wait until the Node object has spec.podCIDRs, or set network.podCIDRs.',
        );
      for (const { cidr, pool } of missing) {
        const kept = known?.addresses.find((address) => contains(cidr, address));
        const next = kept === undefined ? pool.next() : toInteger(kept);
        if (next === null)
          return refusal(
            'addresses-exhausted',
            `All ${pool.total} addresses of ${cidr.text} are in use (${this.#leases.size} pods are attached to this node), ${owner} gets none.`,
            "Remove pods from this node, or give it a larger CIDR: network.podCIDRs, or the cluster's node CIDR mask size.",
          );
        addresses.push(fromInteger(next, cidr.family));
      }
    }
    return this.#record({ id, owner, addresses, details });
  }

  /** Why a wished address cannot be given; null: it can. */
  #refuse(address: Address, id: string, owner: string, by: Wish['by']): { readonly problem: Problem } | null {
    const holder = this.#holders.get(address.text);
    if (holder !== undefined && holder !== id)
      return refusal(
        'address-taken',
        `The address ${address.text} that ${owner} asks for belongs to ${this.#leases.get(holder)!.owner}.`,
        'Give the pod another address, or detach the other pod first.',
      );
    if (by === 'assigned') return null;
    if (this.#active.some(({ pool, cidr }) => contains(cidr, address) && pool.contains(toInteger(address))))
      return null;
    const ranges = this.#active.map(
      ({ cidr, pool }) =>
        `${fromInteger(pool.first, cidr.family).text} to ${fromInteger(pool.last, cidr.family).text}`,
    );
    return refusal(
      'address-outside',
      `The address ${address.text} that ${owner} asks for is none that this node gives to pods (${ranges.join(', ') || 'it has no pod CIDR yet'}).`,
      "Ask for an address of this node's pod CIDR, or for none.",
    );
  }

  /** Gives the addresses back; false: there is no such lease. */
  release(id: string): boolean {
    if (!this.#leases.has(id)) return false;
    try {
      this.#append({ release: id });
    } catch {
      // Given back all the same. Should the agent restart, the lease is there again and ends when its namespace is found gone.
    }
    this.#forget(id);
    this.#compact();
    return true;
  }

  #record(lease: Lease<Details>): LeaseResult<Details> {
    const { id, owner, addresses, details } = lease;
    try {
      this.#append({
        lease: id,
        owner,
        addresses: addresses.map((address) => address.text),
        details,
      });
    } catch (error) {
      return refusal(
        'leases-write',
        `The lease of ${owner} could not be written to ${this.#journal.file} (${(error as NodeJS.ErrnoException).code}).`,
        'Make room in the run directory.',
      );
    }
    this.#remember(lease);
    this.#compact();
    return { lease };
  }

  #remember(lease: Lease<Details>): void {
    const kept = new Set(lease.addresses.map(({ text }) => text));
    this.#forget(lease.id, kept);
    this.#leases.set(lease.id, Object.freeze(lease));
    for (const address of lease.addresses) {
      this.#holders.set(address.text, lease.id);
      for (const pool of this.#poolsOf(address)) pool.take(toInteger(address));
    }
  }

  /** `kept`: addresses that are not given back. */
  #forget(id: string, kept: ReadonlySet<string> = new Set()): void {
    const lease = this.#leases.get(id);
    if (lease === undefined) return;
    this.#leases.delete(id);
    for (const address of lease.addresses) {
      this.#holders.delete(address.text);
      if (kept.has(address.text)) continue;
      for (const pool of this.#poolsOf(address)) pool.release(toInteger(address));
    }
  }

  /** More than one where a CIDR was replaced by one that overlaps it. */
  #poolsOf(address: Address): readonly AddressPool[] {
    return [...this.#pools.values()].filter(({ cidr }) => contains(cidr, address)).map(({ pool }) => pool);
  }

  #activate(cidrs: readonly Cidr[]): void {
    this.#active = cidrs.map((cidr) => this.#poolFor(cidr));
  }

  #poolFor(cidr: Cidr): Pool {
    const known = this.#pools.get(cidr.text);
    if (known !== undefined) return known;
    const pool = new AddressPool(toInteger(cidr.base), cidr.family === 4 ? 32 : 128, cidr.length);
    for (const { addresses } of this.#leases.values())
      for (const address of addresses) if (contains(cidr, address)) pool.take(toInteger(address));
    const made = { cidr, pool };
    this.#pools.set(cidr.text, made);
    return made;
  }

  #append(line: Line<Details>): void {
    this.keep();
    this.#journal.append(line);
  }

  /** Writes the journal anew where somebody has removed it; true: it was so. Throws what the file system says. */
  keep(): boolean {
    if (!this.#journal.lost) return false;
    this.#rewrite();
    return true;
  }

  #compact(): void {
    const state = this.#leases.size + this.#pools.size;
    if (this.#journal.length <= 1024 + 4 * state) return;
    try {
      this.#rewrite();
    } catch {
      // The long journal is as good as the short one; the next change tries again.
    }
  }

  #rewrite(): void {
    for (const [text, pool] of this.#pools)
      if (pool.pool.used === 0 && !this.#active.includes(pool)) this.#pools.delete(text);
    const lines: Line<Details>[] = [...this.#pools.values()].map(({ cidr, pool }) => {
      const { cursor, released } = pool.snapshot();
      return {
        pool: cidr.text,
        cursor: fromInteger(cursor, cidr.family).text,
        released: released.map((address) => fromInteger(address, cidr.family).text),
      };
    });
    lines.push({ cidrs: this.#active.map(({ cidr }) => cidr.text) });
    for (const { id, owner, addresses, details } of this.#leases.values())
      lines.push({ lease: id, owner, addresses: addresses.map((address) => address.text), details });
    this.#journal.rewrite(lines);
  }

  /** null: fine. */
  #replayLine(fields: Readonly<Record<string, unknown>>, remembered: boolean): string | null {
    if (typeof fields.release === 'string') {
      this.#forget(fields.release);
      return null;
    }
    if (typeof fields.pool === 'string') {
      const block = parseCidr(fields.pool)?.cidr;
      const cursor = parseAddress(String(fields.cursor));
      if (block === undefined || cursor === undefined || !Array.isArray(fields.released)) return 'no pool';
      const entry = this.#poolFor(block);
      const released = fields.released.map((text) => parseAddress(String(text)));
      entry.pool.restore(
        toInteger(cursor),
        released.filter((address) => address !== undefined).map(toInteger),
      );
      return null;
    }
    if (Array.isArray(fields.cidrs)) {
      const blocks = fields.cidrs.map((text) => parseCidr(String(text))?.cidr);
      const sound = blocks.filter((block) => block !== undefined);
      if (sound.length !== blocks.length) return 'a CIDR that is none';
      if (new Set(sound.map(({ family }) => family)).size < sound.length) return 'two CIDRs of one family';
      if (remembered) this.#activate(sound);
      else for (const block of sound) this.#poolFor(block);
      return null;
    }
    if (typeof fields.lease !== 'string' || typeof fields.owner !== 'string')
      return 'neither lease nor release';
    if (!Array.isArray(fields.addresses)) return 'a lease without addresses';
    const addresses = fields.addresses.map((text) => parseAddress(String(text)));
    const sound = addresses.filter((address) => address !== undefined);
    if (sound.length !== addresses.length) return 'an address that is none';
    if (new Set(sound.map(({ text }) => text)).size < sound.length) return 'an address twice';
    const { details } = fields;
    if (!this.#isDetails(details)) return 'a lease without the details of its owner';
    // Given again, so it was given back before: by a line that is lost. Two holders would share it, and its release by one free it.
    const formers = sound.map(({ text }) => this.#holders.get(text));
    for (const former of formers) if (former !== undefined && former !== fields.lease) this.#forget(former);
    this.#remember({ id: fields.lease, owner: fields.owner, addresses: sound, details });
    return null;
  }
}

function refusal(code: string, message: string, fix: string): { readonly problem: Problem } {
  return { problem: { code, severity: 'error', message, fix } };
}

const noWish: Wish = { addresses: [], by: 'requested' };

/** Whether these addresses are what the wish would give. */
function grants({ addresses, by }: Wish, given: readonly Address[]): boolean {
  if (addresses.length === 0) return true;
  return (
    (by === 'requested' || addresses.length === given.length) &&
    addresses.every((address) => given.some(({ text }) => text === address.text))
  );
}

function sameTexts(one: readonly Cidr[], other: readonly Cidr[]): boolean {
  return one.length === other.length && one.every(({ text }, index) => text === other[index]?.text);
}

/** The family's own integer: 32 bits for IPv4, 128 for IPv6. */
function toInteger(address: Address): bigint {
  if (address.family === 4) return BigInt(address.words[3]);
  return address.words.reduce((sum, word) => (sum << 32n) | BigInt(word), 0n);
}

function fromInteger(value: bigint, family: 4 | 6): Address {
  const word = (shift: bigint) => Number((value >> shift) & 0xffffffffn);
  return family === 4
    ? addressOf([0, 0, 0xffff, word(0n)])
    : addressOf([word(96n), word(64n), word(32n), word(0n)]);
}
