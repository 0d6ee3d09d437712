/**
 * A term in use, the identity that is a set of them, and the addresses that hold it: the values of the identity table. They know each
 * other both ways (which identities hold this term, which terms make this identity), so they stand together.
 */
import type { Pod } from '../model/pod.js';
import type { Address } from '../net/address.js';
import { compareHashes, type Hash, hashSet, hashText } from './hash.js';
import type { TermSpec } from './term.js';

export class Term {
  readonly spec: TermSpec;
  readonly text: string;
  readonly hash: Hash;
  /** Unique in this process; says nothing about order. */
  readonly serial: number;
  /** Identities that it holds for. */
  readonly holders = new Set<Identity>();
  /** How many users asked for it; at 0 it is forgotten at the next settling. */
  uses = 0;

  constructor(spec: TermSpec, text: string, serial: number) {
    this.spec = spec;
    this.text = text;
    this.hash = hashText(text);
    this.serial = serial;
  }
}

/** One address of one pod. */
export interface Holder {
  readonly address: Address;
  readonly pod: Pod;
  identity: Identity | null;
}

export class Identity {
  /** Sorted by serial. */
  readonly terms: readonly Term[];
  readonly hash: Hash;
  readonly holders = new Set<Holder>();
  readonly #set: ReadonlySet<Term>;
  /** Position in the image; set when the table is laid out. */
  index = -1;
  #text: string | undefined;

  constructor(terms: readonly Term[]) {
    this.terms = terms;
    this.hash = hashSet(terms);
    this.#set = new Set(terms);
  }

  holds(term: Term): boolean {
    return this.#set.has(term);
  }

  /** The canonical bytes. */
  get text(): string {
    this.#text ??= this.terms
      .map(({ text }) => text)
      .sort()
      .join('\n');
    return this.#text;
  }
}

export function compareIdentities(a: Identity, b: Identity): number {
  return compareHashes(a.hash, b.hash) || (a.text < b.text ? -1 : a.text > b.text ? 1 : 0);
}
