/**
 * Which of many blocks hold an address: by depth, then by the address cut off there. One probe for each depth that some block has, however
 * many blocks there are.
 */
import type { Address } from '../net/address.js';
import { maskWords } from '../net/cidr.js';
import type { Term } from './identity.js';
import { blockHolds } from './term.js';

/** IPv4 has one word of its own, which is a faster key than text. */
type Key = number | string;

export class BlockIndex {
  readonly #depths = new Map<number, Map<Key, Set<Term>>>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  add(term: Term): void {
    if (term.spec.kind !== 'block') return;
    const { base, depth } = term.spec.cidr;
    let blocks = this.#depths.get(depth);
    if (blocks === undefined) {
      blocks = new Map();
      this.#depths.set(depth, blocks);
    }
    const key = cut(base, depth);
    const terms = blocks.get(key);
    if (terms === undefined) blocks.set(key, new Set([term]));
    else terms.add(term);
    this.#size++;
  }

  delete(term: Term): void {
    if (term.spec.kind !== 'block') return;
    const { base, depth } = term.spec.cidr;
    const blocks = this.#depths.get(depth);
    const key = cut(base, depth);
    const terms = blocks?.get(key);
    if (blocks === undefined || !terms?.delete(term)) return;
    this.#size--;
    if (terms.size > 0) return;
    blocks.delete(key);
    if (blocks.size === 0) this.#depths.delete(depth);
  }

  /** Appends the terms whose block holds the address and whose exceptions do not. */
  collect(address: Address, out: Term[]): void {
    for (const [depth, blocks] of this.#depths) {
      for (const term of blocks.get(cut(address, depth)) ?? []) {
        if (term.spec.kind === 'block' && blockHolds(term.spec, address)) out.push(term);
      }
    }
  }
}

function cut({ family, words }: Address, depth: number): Key {
  // An IPv6 block wider than 96 bits must not be found by an IPv4 address in its mapped form; blockHolds sees to that.
  const masked = maskWords(words, depth);
  return family === 4 && depth >= 96 ? masked[3] : masked.join();
}
