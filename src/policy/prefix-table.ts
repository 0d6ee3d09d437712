/**
 * Every prefix that a block or an exception in force names, in the order of the image (each after those around it), with the narrowest
 * prefix around it, and the trie of each family that finds the longest prefix of an address.
 *
 * The trie is path-compressed (a Patricia trie without its bit-skipping shortcut: every node keeps its full key, so that a walk checks as
 * it goes): at most 2n nodes for n prefixes, at most one node per bit on the way, one half of a cache line per node. A multibit trie
 * would need fewer steps and several times the memory, and steps happen once per flow, not once per packet.
 */
import type { Address, Family } from '../net/address.js';
import { type Cidr, compareBlocks, containsBlock, maskWords } from '../net/cidr.js';
import { type Indexed, SortedList } from './sorted-list.js';

type Words = readonly [number, number, number, number];

export class Prefix implements Indexed {
  readonly cidr: Cidr;
  index = -1;
  uses = 0;
  parent: Prefix | null = null;

  constructor(cidr: Cidr) {
    this.cidr = cidr;
  }
}

export interface TrieNode {
  readonly words: Words;
  /** Bits of the 16-byte form that the node fixes. */
  readonly depth: number;
  prefix: Prefix | null;
  child0: TrieNode | null;
  child1: TrieNode | null;
}

const roots: Readonly<Record<Family, { readonly words: Words; readonly depth: number }>> = {
  4: { words: [0, 0, 0xffff, 0], depth: 96 },
  6: { words: [0, 0, 0, 0], depth: 0 },
};

function bitAt(words: Words, index: number): 0 | 1 {
  return ((words[index >>> 5]! >>> (31 - (index & 31))) & 1) as 0 | 1;
}

function commonDepth(a: Words, b: Words): number {
  for (let i = 0; i < 4; i++) {
    const difference = (a[i]! ^ b[i]!) >>> 0;
    if (difference !== 0) return 32 * i + Math.clz32(difference);
  }
  return 128;
}

/** `prefixes` of one family, sorted by address, those around others first. */
export function buildTrie(family: Family, prefixes: readonly Prefix[]): TrieNode {
  const root: TrieNode = { ...roots[family], prefix: null, child0: null, child1: null };
  /** The rightmost way down; in sorted order nothing left of it changes any more. */
  const path: TrieNode[] = [root];
  for (const prefix of prefixes) {
    const { depth } = prefix.cidr;
    const words = prefix.cidr.base.words;
    let cut: TrieNode | null = null;
    while (path.length > 1) {
      const top = path[path.length - 1]!;
      if (commonDepth(top.words, words) >= top.depth && top.depth <= depth) break;
      cut = path.pop()!;
    }
    const top = path[path.length - 1]!;
    if (top.depth === depth) {
      top.prefix = prefix;
      continue;
    }
    const node: TrieNode = { words, depth, prefix, child0: null, child1: null };
    if (cut === null) {
      if (bitAt(words, top.depth) === 0) top.child0 = node;
      else top.child1 = node;
      path.push(node);
      continue;
    }
    const shared = Math.min(commonDepth(cut.words, words), depth, cut.depth);
    if (shared === top.depth) {
      // They part right here: `cut` stays the 0 side.
      top.child1 = node;
      path.push(node);
      continue;
    }
    const fork: TrieNode = {
      words: maskWords(words, shared),
      depth: shared,
      prefix: null,
      child0: cut,
      child1: node,
    };
    if (bitAt(words, top.depth) === 0) top.child0 = fork;
    else top.child1 = fork;
    path.push(fork, node);
  }
  return root;
}

/** The longest prefix that contains the address, or null. */
export function longestPrefix(root: TrieNode, address: Address): Prefix | null {
  let best: Prefix | null = null;
  const { words } = address;
  for (let node: TrieNode | null = root; node !== null; ) {
    if (commonDepth(node.words, words) < node.depth) break;
    if (node.prefix !== null) best = node.prefix;
    if (node.depth >= 128) break;
    node = bitAt(words, node.depth) === 0 ? node.child0 : node.child1;
  }
  return best;
}

/** The nodes, every parent before its children. */
export function trieNodes(root: TrieNode): TrieNode[] {
  const nodes: TrieNode[] = [];
  const waiting = [root];
  for (let node = waiting.pop(); node !== undefined; node = waiting.pop()) {
    nodes.push(node);
    if (node.child1 !== null) waiting.push(node.child1);
    if (node.child0 !== null) waiting.push(node.child0);
  }
  return nodes;
}

/** Sets `parent` of prefixes that stand in order. */
export function linkParents(prefixes: readonly Prefix[]): void {
  const around: Prefix[] = [];
  for (const prefix of prefixes) {
    while (around.length > 0 && !containsBlock(around[around.length - 1]!.cidr, prefix.cidr)) around.pop();
    prefix.parent = around.at(-1) ?? null;
    around.push(prefix);
  }
}

export class PrefixTable {
  readonly #prefixes = new Map<string, Prefix>();
  readonly #list = new SortedList<Prefix>((a, b) => compareBlocks(a.cidr, b.cidr));
  #tries: Readonly<Record<Family, TrieNode>> = { 4: buildTrie(4, []), 6: buildTrie(6, []) };
  readonly #fresh = new Set<Prefix>();
  readonly #idle = new Set<Prefix>();

  acquire(cidr: Cidr): Prefix {
    let prefix = this.#prefixes.get(cidr.text);
    if (prefix === undefined) {
      prefix = new Prefix(cidr);
      this.#prefixes.set(cidr.text, prefix);
      this.#list.add(prefix);
      this.#fresh.add(prefix);
    }
    prefix.uses++;
    return prefix;
  }

  release(prefix: Prefix): void {
    if (--prefix.uses === 0) this.#idle.add(prefix);
  }

  /** The prefixes that came or went; addresses inside of them have to be looked up again. */
  settle(): readonly Cidr[] {
    const changed = new Map<string, Cidr>();
    for (const prefix of this.#fresh) changed.set(prefix.cidr.text, prefix.cidr);
    this.#fresh.clear();
    for (const prefix of this.#idle) {
      if (prefix.uses > 0) continue;
      this.#prefixes.delete(prefix.cidr.text);
      this.#list.delete(prefix);
      changed.set(prefix.cidr.text, prefix.cidr);
    }
    this.#idle.clear();
    this.#list.settle();
    if (changed.size === 0) return [];
    const items = this.#list.items;
    linkParents(items);
    const firstV6 = items.findIndex(({ cidr }) => cidr.family === 6);
    const split = firstV6 < 0 ? items.length : firstV6;
    this.#tries = { 4: buildTrie(4, items.slice(0, split)), 6: buildTrie(6, items.slice(split)) };
    return [...changed.values()];
  }

  get items(): readonly Prefix[] {
    return this.#list.items;
  }

  trie(family: Family): TrieNode {
    return this.#tries[family];
  }

  find(address: Address): Prefix | null {
    return longestPrefix(this.#tries[address.family], address);
  }
}
