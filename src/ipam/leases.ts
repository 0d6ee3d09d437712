/**
 * Which pod has which addresses, remembered across restarts of the agent.
 *
 * A journal in the run directory, one JSON line a change, replayed at start: so a restarted agent gives out addresses in exactly the
 * order in which the old one would have. No fsync: the run directory is a tmpfs that a reboot empties together with the pods; what
 * a lost process has written is in the page cache all the same. A last line that is torn belongs to a request that was never
 * answered and is dropped. When the journal holds several times more lines than there is state, it is rewritten.
 *
 * `details` is what the owner needs to bring the attachment back (namespace path, interface name): kept in the same line as the
 * addresses, so that the two cannot disagree. This module does not look into it.
 *
 * One process at a time; not for concurrent writers (the agent's socket is its lock).
 */
import { appendFileSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Problem } from '../errors/problem.js';
import { type Address, addressOf, parseAddress } from '../net/address.js';
import { type Cidr, contains } from '../net/cidr.js';
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
  /** First line of a rewritten journal: the pool's order. */
  | { readonly pool: string; readonly cursor: string; readonly released: readonly string[] };

export class Leases<Details = unknown> {
  readonly #file: string;
  readonly #pools: readonly { readonly cidr: Cidr; readonly pool: AddressPool }[];
  readonly #leases = new Map<string, Lease<Details>>();
  /** Lease id by address text, for addresses inside and outside of the pools. */
  readonly #holders = new Map<string, string>();
  #lines = 0;

  /** Reads the journal if there is one. `cidrs`: at most one of each family. Unreadable lines are reported, not fatal. */
  constructor(file: string, cidrs: readonly Cidr[], report: (problem: Problem) => void = () => {}) {
    this.#file = file;
    this.#pools = cidrs.map((cidr) => ({
      cidr,
      pool: new AddressPool(toInteger(cidr.base), cidr.family === 4 ? 32 : 128, cidr.length),
    }));
    mkdirSync(dirname(file), { recursive: true });
    this.#replay(report);
  }

  get(id: string): Lease<Details> | undefined {
    return this.#leases.get(id);
  }

  list(): readonly Lease<Details>[] {
    return [...this.#leases.values()];
  }

  use(): readonly PoolUse[] {
    return this.#pools.map(({ cidr, pool }) => ({ cidr: cidr.text, used: pool.used, total: pool.total }));
  }

  /** The node's own address in each pod CIDR: the one after the network address, which no pod gets. */
  nodeAddresses(): readonly Address[] {
    return this.#pools.map(({ cidr }) => fromInteger(toInteger(cidr.base) + 1n, cidr.family));
  }

  /**
   * Gives `fixed` addresses, or one of each configured family. All or nothing; written to the journal before it returns. The same
   * id again answers the same lease (with the new details).
   */
  allocate(
    id: string,
    owner: string,
    details: Details,
    fixed: readonly Address[] = [],
  ): LeaseResult<Details> {
    const known = this.#leases.get(id);
    if (known !== undefined) {
      if (fixed.length > 0 && !sameAddresses(known.addresses, fixed)) this.release(id);
      else return this.#record({ ...known, owner, details });
    }
    const addresses: Address[] = [];
    if (fixed.length > 0) {
      for (const address of fixed) {
        const holder = this.#holders.get(address.text);
        if (holder !== undefined) {
          const other = this.#leases.get(holder)!;
          return refusal(
            'address-taken',
            `The address ${address.text} that ${owner} asks for belongs to ${other.owner}.`,
            'Give the pod another address, or detach the other pod first.',
          );
        }
        addresses.push(address);
      }
    } else {
      for (const { cidr, pool } of this.#pools) {
        const next = pool.next();
        if (next === null) {
          return refusal(
            'addresses-exhausted',
            `All ${pool.total} addresses of ${cidr.text} are in use, ${owner} gets none.`,
            'Remove pods from this node, or give it a larger network.podCIDRs.',
          );
        }
        addresses.push(fromInteger(next, cidr.family));
      }
    }
    return this.#record({ id, owner, addresses, details });
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
      this.#append({ lease: id, owner, addresses: addresses.map((address) => address.text), details });
    } catch (error) {
      return refusal(
        'leases-write',
        `The lease of ${owner} could not be written to ${this.#file} (${(error as NodeJS.ErrnoException).code}).`,
        'Make room in the run directory.',
      );
    }
    this.#remember(lease);
    this.#compact();
    return { lease };
  }

  #remember(lease: Lease<Details>): void {
    this.#forget(lease.id, false);
    this.#leases.set(lease.id, Object.freeze(lease));
    for (const address of lease.addresses) {
      this.#holders.set(address.text, lease.id);
      this.#poolOf(address)?.take(toInteger(address));
    }
  }

  #forget(id: string, release = true): void {
    const lease = this.#leases.get(id);
    if (lease === undefined) return;
    this.#leases.delete(id);
    for (const address of lease.addresses) {
      this.#holders.delete(address.text);
      if (release) this.#poolOf(address)?.release(toInteger(address));
    }
  }

  #poolOf(address: Address): AddressPool | undefined {
    return this.#pools.find(({ cidr }) => contains(cidr, address))?.pool;
  }

  #append(line: Line<Details>): void {
    appendFileSync(this.#file, `${JSON.stringify(line)}\n`, { mode: 0o600 });
    this.#lines++;
  }

  #compact(): void {
    const snapshots = this.#pools.map(({ cidr, pool }) => ({ cidr, ...pool.snapshot() }));
    const state = this.#leases.size + this.#pools.length;
    if (this.#lines <= 1024 + 4 * state) return;
    const lines: Line<Details>[] = snapshots.map(({ cidr, cursor, released }) => ({
      pool: cidr.text,
      cursor: fromInteger(cursor, cidr.family).text,
      released: released.map((address) => fromInteger(address, cidr.family).text),
    }));
    for (const { id, owner, addresses, details } of this.#leases.values())
      lines.push({ lease: id, owner, addresses: addresses.map((address) => address.text), details });
    try {
      writeFileSync(`${this.#file}.new`, lines.map((line) => `${JSON.stringify(line)}\n`).join(''), {
        mode: 0o600,
      });
      renameSync(`${this.#file}.new`, this.#file);
      this.#lines = lines.length;
    } catch {
      // The long journal is as good as the short one; the next change tries again.
    }
  }

  #replay(report: (problem: Problem) => void): void {
    let text: string;
    try {
      text = readFileSync(this.#file, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
      throw error;
    }
    const whole = text.endsWith('\n');
    const lines = text.split('\n');
    const torn = lines.pop() ?? '';
    for (const [index, line] of lines.entries()) {
      const problem = this.#replayLine(line);
      if (problem !== null)
        report({
          code: 'leases-damaged',
          severity: 'warning',
          message: `A line of the lease journal cannot be read (${problem}); it is left out.`,
          source: { file: this.#file, line: index + 1 },
        });
    }
    this.#lines = lines.length;
    if (whole || torn === '') return;
    // Cut the torn end off, or the next line would be glued to it.
    writeFileSync(`${this.#file}.new`, `${lines.join('\n')}${lines.length > 0 ? '\n' : ''}`, { mode: 0o600 });
    renameSync(`${this.#file}.new`, this.#file);
  }

  /** null: fine. */
  #replayLine(line: string): string | null {
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch {
      return 'no JSON';
    }
    if (typeof value !== 'object' || value === null) return 'no object';
    const fields = value as Readonly<Record<string, unknown>>;
    if (typeof fields.release === 'string') {
      this.#forget(fields.release);
      return null;
    }
    if (typeof fields.pool === 'string') {
      const entry = this.#pools.find(({ cidr }) => cidr.text === fields.pool);
      const cursor = parseAddress(String(fields.cursor));
      if (entry === undefined || cursor === undefined || !Array.isArray(fields.released)) return null;
      const released = fields.released.map((text) => parseAddress(String(text)));
      entry.pool.restore(
        toInteger(cursor),
        released.filter((address) => address !== undefined).map(toInteger),
      );
      return null;
    }
    if (typeof fields.lease !== 'string' || typeof fields.owner !== 'string')
      return 'neither lease nor release';
    if (!Array.isArray(fields.addresses)) return 'a lease without addresses';
    const addresses = fields.addresses.map((text) => parseAddress(String(text)));
    const sound = addresses.filter((address) => address !== undefined);
    if (sound.length !== addresses.length) return 'an address that is none';
    this.#remember({
      id: fields.lease,
      owner: fields.owner,
      addresses: sound,
      details: fields.details as Details,
    });
    return null;
  }
}

function refusal(code: string, message: string, fix: string): { readonly problem: Problem } {
  return { problem: { code, severity: 'error', message, fix } };
}

function sameAddresses(one: readonly Address[], other: readonly Address[]): boolean {
  return (
    one.length === other.length && one.every((address) => other.some(({ text }) => text === address.text))
  );
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
