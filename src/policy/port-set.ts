/**
 * Port sets: what a cell of the matrix allows, and by which rule. In normal form the ranges of each protocol are disjoint and ascend, and
 * every port belongs to the first rule (in image order) that allows it, so that equal sets are one set and a verdict names the same rule
 * whatever way it was reached. Equal sets are kept once and counted by use.
 */
import type { PortRange, RuleEntry } from './rule.js';
import { type Indexed, SortedList } from './sorted-list.js';

export interface RuledRange extends PortRange {
  readonly rule: RuleEntry;
}

/** One rule with the ports that it opens for the destination at hand. */
export interface Grant {
  readonly rule: RuleEntry;
  readonly any: boolean;
  readonly ranges: readonly PortRange[];
}

export class PortSet implements Indexed {
  readonly any: RuleEntry | null;
  readonly ranges: readonly RuledRange[];
  readonly key: string;
  index = -1;
  uses = 0;

  constructor(any: RuleEntry | null, ranges: readonly RuledRange[], key: string) {
    this.any = any;
    this.ranges = ranges;
    this.key = key;
  }
}

/** By content: rule for everything, then ranges one by one. The empty set comes first. */
function comparePortSets(a: PortSet, b: PortSet): number {
  const emptiness = (set: PortSet) => (set.any === null && set.ranges.length === 0 ? 0 : 1);
  const difference = emptiness(a) - emptiness(b) || (a.any?.order ?? -1) - (b.any?.order ?? -1);
  if (difference !== 0) return difference;
  for (let i = 0; i < a.ranges.length && i < b.ranges.length; i++) {
    const [x, y] = [a.ranges[i]!, b.ranges[i]!];
    const step =
      x.protocol - y.protocol || x.first - y.first || x.last - y.last || x.rule.order - y.rule.order;
    if (step !== 0) return step;
  }
  return a.ranges.length - b.ranges.length;
}

/** Where the first range that ends at or after `port` stands. */
function firstEndingAtOrAfter(ranges: readonly RuledRange[], port: number): number {
  let low = 0;
  let high = ranges.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ranges[middle]!.last < port) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Puts what no earlier rule covers of `range` into the disjoint, ascending `held`. */
function insertUncovered(held: RuledRange[], range: PortRange, rule: RuleEntry): void {
  const from = firstEndingAtOrAfter(held, range.first);
  let to = from;
  let next = range.first;
  const pieces: RuledRange[] = [];
  while (to < held.length && held[to]!.first <= range.last) {
    const covered = held[to++]!;
    if (next < covered.first)
      pieces.push({ protocol: range.protocol, first: next, last: covered.first - 1, rule });
    pieces.push(covered);
    next = covered.last + 1;
  }
  if (next <= range.last) pieces.push({ protocol: range.protocol, first: next, last: range.last, rule });
  held.splice(from, to - from, ...pieces);
}

function mergeTouching(ranges: readonly RuledRange[]): RuledRange[] {
  const merged: RuledRange[] = [];
  for (const range of ranges) {
    const last = merged.at(-1);
    if (
      last !== undefined &&
      last.protocol === range.protocol &&
      last.rule === range.rule &&
      last.last + 1 === range.first
    ) {
      merged[merged.length - 1] = { ...last, last: range.last };
    } else merged.push(range);
  }
  return merged;
}

/** The union of grants in normal form. Rules must have their order. */
function normalise(grants: readonly Grant[]): { any: RuleEntry | null; ranges: RuledRange[] } {
  const sorted = [...grants].sort((a, b) => a.rule.order - b.rule.order);
  const any = sorted.find((grant) => grant.any)?.rule ?? null;
  const byProtocol = new Map<number, RuledRange[]>();
  for (const { rule, ranges } of sorted) {
    // A rule for everything that comes first leaves later ones nothing to decide.
    if (any !== null && rule.order >= any.order) break;
    for (const range of ranges) {
      let held = byProtocol.get(range.protocol);
      if (held === undefined) {
        held = [];
        byProtocol.set(range.protocol, held);
      }
      insertUncovered(held, range, rule);
    }
  }
  const protocols = [...byProtocol.keys()].sort((a, b) => a - b);
  return { any, ranges: protocols.flatMap((protocol) => mergeTouching(byProtocol.get(protocol)!)) };
}

export class PortSetTable {
  readonly #sets = new Map<string, PortSet>();
  readonly #list = new SortedList<PortSet>(comparePortSets);
  readonly #idle = new Set<PortSet>();
  /** What nobody allows; always there, always first. */
  readonly empty: PortSet;

  constructor() {
    this.empty = this.#intern(null, []);
    this.empty.uses = 1;
  }

  /** The set for these grants, not yet counted as used. */
  of(grants: readonly Grant[]): PortSet {
    if (grants.length === 0) return this.empty;
    const { any, ranges } = normalise(grants);
    return this.#intern(any, ranges);
  }

  use(set: PortSet): PortSet {
    set.uses++;
    return set;
  }

  drop(set: PortSet): void {
    if (--set.uses === 0) this.#idle.add(set);
  }

  /** In canonical order; `changed` tells whether it is another list than last time. */
  settle(): { readonly items: readonly PortSet[]; readonly changed: boolean } {
    for (const set of this.#idle) {
      if (set.uses > 0) continue;
      this.#sets.delete(set.key);
      this.#list.delete(set);
    }
    this.#idle.clear();
    const changed = this.#list.settle();
    return { items: this.#list.items, changed };
  }

  #intern(any: RuleEntry | null, ranges: readonly RuledRange[]): PortSet {
    let key = any === null ? '-' : `${any.serial}`;
    for (const range of ranges) {
      key += `;${range.protocol},${range.first},${range.last},${range.rule.serial}`;
    }
    let set = this.#sets.get(key);
    if (set === undefined) {
      set = new PortSet(any, ranges, key);
      this.#sets.set(key, set);
      this.#list.add(set);
      this.#idle.add(set);
    }
    return set;
  }
}
