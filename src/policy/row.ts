/**
 * A row is one direction of a program: the policies that isolate some local pods in that direction, and what their rules allow to whom.
 *
 * A peer is judged twice and may pass either time: by who it is and by where it is.
 *
 * - Who: pods by their identity. A cell (row, identity) holds the port set; where there is none the row's default for pods stands, and for
 *   whatever is no pod the default for others. Rules for everybody and for every pod go into the defaults, so that the widest rules cost the
 *   fewest cells.
 * - Where: the ipBlocks around the address. A cell (row, prefix) is kept only at prefixes that this row's own rules name, and holds until a
 *   narrower one of this row. A lookup goes from the address's longest prefix outwards until the row has a cell.
 *
 * The alternative is one cell for each (row, identity × set of blocks). It saves a probe and multiplies: a row that allows 10.0.0.0/8
 * would need a cell at each of the thousand prefixes that other policies name inside of it. Kept apart, cells are as many as the row's own
 * peers mean: identities on one side, own prefixes on the other.
 *
 * One rule can join the two sides: an egress rule with an ipBlock and a named port allows a pod inside the block that has the name.
 * Whether the pod's address is in the block is then part of its identity (a `block` term), and the rule a matter of who.
 */

import type { Identity, Term } from '../identity/identity.js';
import type { IdentityTable, NamedPort } from '../identity/identity-table.js';
import type { Pod } from '../model/pod.js';
import type { Direction } from '../model/policy.js';
import { protocolNumber } from '../model/protocol.js';
import { type Cidr, compareBlocks, containsBlock } from '../net/cidr.js';
import type { Grant, PortSet, PortSetTable } from './port-set.js';
import type { Prefix, PrefixTable } from './prefix-table.js';
import type { Block, PolicyEntry, PortName, PortRange, RuleEntry } from './rule.js';
import type { Indexed } from './sorted-list.js';

/** What rows are built from and registered with. */
export interface RowContext {
  readonly identities: IdentityTable;
  readonly portSets: PortSetTable;
  readonly prefixes: PrefixTable;
  /** Rows to look at when an identity holds a term. */
  readonly rowsOfTerm: Map<Term, Set<Row>>;
  readonly rowsOfPort: Map<NamedPort, Set<Row>>;
}

/** The numbers that a pod gives to a named port, ascending, without repeats. */
function numbersOf(pod: Pod, { name, protocol }: PortName): number[] {
  const numbers = new Set<number>();
  for (const port of pod.ports) if (port.name === name && port.protocol === protocol) numbers.add(port.port);
  return [...numbers].sort((a, b) => a - b);
}

/** The named ports of a local pod that ingress rules of these policies ask for; part of what tells rows apart. */
export function resolveOwnPorts(
  policies: readonly PolicyEntry[],
  pod: Pod,
): ReadonlyMap<string, readonly number[]> {
  const resolved = new Map<string, readonly number[]>();
  for (const policy of policies) {
    for (const rule of policy.rules.ingress ?? []) {
      for (const name of rule.ports.names) {
        const numbers = numbersOf(pod, name);
        if (numbers.length > 0) resolved.set(`${name.protocol}/${name.name}`, numbers);
      }
    }
  }
  return new Map([...resolved].sort(([a], [b]) => (a < b ? -1 : 1)));
}

export function resolvedText(resolved: ReadonlyMap<string, readonly number[]>): string {
  return [...resolved].map(([name, numbers]) => `${name}=${numbers.join(',')}`).join(';');
}

export interface BlockCell {
  readonly prefix: Prefix;
  readonly set: PortSet;
}

export class Row implements Indexed {
  readonly direction: Direction;
  /** By serial, as the key has them; sorted for the image when it is laid out. */
  readonly policies: readonly PolicyEntry[];
  readonly resolved: ReadonlyMap<string, readonly number[]>;
  readonly key: string;
  index = -1;
  uses = 0;
  /** Port set of peers that are no pod, and of pods without a cell. Valid once built. */
  other!: PortSet;
  pods!: PortSet;
  readonly cells = new Map<Identity, PortSet>();
  blockCells: readonly BlockCell[] = [];
  readonly #context: RowContext;
  readonly #rulesOfTerm = new Map<Term, RuleEntry[]>();
  readonly #everybody: RuleEntry[] = [];
  readonly #everyPod: RuleEntry[] = [];
  readonly #names: { readonly name: PortName; readonly port: NamedPort }[] = [];
  readonly #prefixes: Prefix[] = [];
  #built = false;

  constructor(
    context: RowContext,
    direction: Direction,
    policies: readonly PolicyEntry[],
    resolved: ReadonlyMap<string, readonly number[]>,
    key: string,
  ) {
    this.#context = context;
    this.direction = direction;
    this.policies = policies;
    this.resolved = resolved;
    this.key = key;
  }

  get rules(): RuleEntry[] {
    return this.policies.flatMap((policy) => [...policy.rules[this.direction]!]);
  }

  /** Asks for the terms, ports and prefixes of its rules. Before identities settle. */
  register(): void {
    const { identities } = this.#context;
    const named = new Map<string, PortName>();
    for (const rule of this.rules) {
      const opensByName = this.direction === 'egress' && rule.ports.names.length > 0;
      if (opensByName) for (const name of rule.ports.names) named.set(`${name.protocol}/${name.name}`, name);
      if (!this.#opensNumbers(rule) && !opensByName) continue;
      if (rule.everybody) this.#everybody.push(rule);
      if (rule.everyPod) this.#everyPod.push(rule);
      for (const spec of rule.terms) this.#join(identities.acquire(spec), rule);
      if (opensByName) {
        for (const { cidr, except } of rule.blocks) {
          this.#join(identities.acquire({ kind: 'block', cidr, except }), rule);
        }
      }
    }
    for (const name of named.values()) {
      const port = identities.acquirePort(name.name, name.protocol);
      this.#names.push({ name, port });
      placeFor(this.#context.rowsOfPort, port).add(this);
    }
    this.#registerBlocks();
  }

  /** Computes every cell. Once identities have settled, prefixes are known and rules have their order. */
  build(): void {
    const { portSets } = this.#context;
    this.#built = true;
    this.other = portSets.use(portSets.of(this.#everybody.map((rule) => this.#grant(rule, null))));
    const everyPod = [...this.#everybody, ...this.#everyPod];
    this.pods = portSets.use(portSets.of(everyPod.map((rule) => this.#grant(rule, null))));
    // From the terms' side, so that the work is in proportion to what the rules mean.
    const rulesOf = new Map<Identity, Set<RuleEntry>>();
    const concern = (identity: Identity): Set<RuleEntry> => {
      let rules = rulesOf.get(identity);
      if (rules === undefined) {
        rules = new Set();
        rulesOf.set(identity, rules);
      }
      return rules;
    };
    for (const [term, rules] of this.#rulesOfTerm) {
      for (const identity of term.holders) for (const rule of rules) concern(identity).add(rule);
    }
    for (const { port } of this.#names) {
      for (const term of port.numbers.values()) for (const identity of term.holders) concern(identity);
    }
    const known = new Map<string, PortSet>();
    for (const [identity, rules] of rulesOf) this.#setCell(identity, rules, known);
    this.#buildBlocks();
  }

  /** An identity that holds some of the row's terms appeared after the row was built. */
  addIdentity(identity: Identity): void {
    const rules = new Set<RuleEntry>();
    for (const [term, of] of this.#rulesOfTerm)
      if (identity.holds(term)) for (const rule of of) rules.add(rule);
    this.#setCell(identity, rules, null);
  }

  /** `rules` are those whose peers mean the identity by a term; `known` remembers sets by their rules while a row is built. */
  #setCell(identity: Identity, rules: Set<RuleEntry>, known: Map<string, PortSet> | null): void {
    const { portSets } = this.#context;
    let key = '';
    if (known !== null && this.#names.length === 0) {
      for (const rule of rules) key += `${rule.serial},`;
    }
    let set = key === '' ? undefined : known?.get(key);
    if (set === undefined) {
      for (const rule of this.#everybody) rules.add(rule);
      for (const rule of this.#everyPod) rules.add(rule);
      set = portSets.of([...rules].map((rule) => this.#grant(rule, identity)));
      if (key !== '') known?.set(key, set);
    }
    if (set !== this.pods) this.cells.set(identity, portSets.use(set));
  }

  removeIdentity(identity: Identity): void {
    const set = this.cells.get(identity);
    if (set === undefined) return;
    this.cells.delete(identity);
    this.#context.portSets.drop(set);
  }

  /** Gives everything back. */
  release(): void {
    const { identities, portSets, prefixes, rowsOfTerm, rowsOfPort } = this.#context;
    for (const [term, rules] of this.#rulesOfTerm) {
      for (const _ of rules) identities.release(term);
      removeFrom(rowsOfTerm, term, this);
    }
    for (const { name, port } of this.#names) {
      identities.releasePort(name.name, name.protocol);
      removeFrom(rowsOfPort, port, this);
    }
    for (const prefix of this.#prefixes) prefixes.release(prefix);
    if (!this.#built) return;
    for (const set of this.cells.values()) portSets.drop(set);
    for (const { set } of this.blockCells) portSets.drop(set);
    portSets.drop(this.other);
    portSets.drop(this.pods);
  }

  #join(term: Term, rule: RuleEntry): void {
    const rules = this.#rulesOfTerm.get(term);
    if (rules === undefined) {
      this.#rulesOfTerm.set(term, [rule]);
      placeFor(this.#context.rowsOfTerm, term).add(this);
    } else rules.push(rule);
  }

  #ownRanges(rule: RuleEntry): readonly PortRange[] {
    if (this.direction === 'egress' || rule.ports.names.length === 0) return rule.ports.ranges;
    return [...rule.ports.ranges, ...rule.ports.names.flatMap((name) => this.#numbered(name))];
  }

  #numbered({ name, protocol }: PortName): PortRange[] {
    const numbers = this.resolved.get(`${protocol}/${name}`) ?? [];
    return numbers.map((port) => ({ protocol: protocolNumber[protocol], first: port, last: port }));
  }

  #opensNumbers(rule: RuleEntry): boolean {
    return rule.ports.any || this.#ownRanges(rule).length > 0;
  }

  /** What the rule opens at a destination; `identity` is the destination's for egress, null for one without names. */
  #grant(rule: RuleEntry, identity: Identity | null): Grant {
    let ranges = this.#ownRanges(rule);
    if (identity !== null && this.direction === 'egress' && rule.ports.names.length > 0) {
      ranges = [...ranges];
      for (const term of identity.terms) {
        const { spec } = term;
        if (spec.kind !== 'port') continue;
        if (!rule.ports.names.some(({ name, protocol }) => name === spec.name && protocol === spec.protocol))
          continue;
        (ranges as PortRange[]).push({
          protocol: protocolNumber[spec.protocol],
          first: spec.number,
          last: spec.number,
        });
      }
    }
    return { rule, any: rule.ports.any, ranges };
  }

  #registerBlocks(): void {
    const cidrs = new Map<string, Cidr>();
    for (const { block } of this.#openBlocks()) {
      cidrs.set(block.cidr.text, block.cidr);
      for (const hole of block.except) cidrs.set(hole.text, hole);
    }
    for (const cidr of cidrs.values()) this.#prefixes.push(this.#context.prefixes.acquire(cidr));
  }

  /** Blocks of rules that allow by where the peer is. */
  #openBlocks(): { readonly rule: RuleEntry; readonly block: Block }[] {
    return this.rules
      .filter((rule) => rule.blocks.length > 0 && this.#opensNumbers(rule))
      .flatMap((rule) => rule.blocks.map((block) => ({ rule, block })));
  }

  /**
   * Goes over the row's own prefixes in order, keeping the way from the outermost to the current one. At each prefix rules come in by blocks
   * that begin there and leave by exceptions; leaving the prefix undoes both. Prefixes of a long list mostly do the same to the same
   * surroundings, which is worked out once: a list of thousands may stand inside hundreds of rules for everything.
   */
  #buildBlocks(): void {
    const { portSets } = this.#context;
    const begin = new Map<string, RuleEntry[]>();
    const end = new Map<string, RuleEntry[]>();
    for (const { rule, block } of this.#openBlocks()) {
      pushTo(begin, block.cidr.text, rule);
      for (const hole of block.except) pushTo(end, hole.text, rule);
    }
    const active = new Map<RuleEntry, number>();
    const count = (rule: RuleEntry, by: number) => {
      const next = (active.get(rule) ?? 0) + by;
      if (next === 0) active.delete(rule);
      else active.set(rule, next);
    };
    interface Inside {
      readonly set: PortSet;
      /** What prefixes in here have made of it, by the rules that come in and leave. */
      readonly made: Map<string, Inside>;
    }
    const nowhere: Inside = { set: portSets.empty, made: new Map() };
    const way: { readonly prefix: Prefix; readonly inside: Inside }[] = [];
    const leave = () => {
      const { text } = way.pop()!.prefix.cidr;
      for (const rule of begin.get(text) ?? []) count(rule, -1);
      for (const rule of end.get(text) ?? []) count(rule, 1);
    };
    const cells: BlockCell[] = [];
    const ordered = [...this.#prefixes].sort((a, b) => compareBlocks(a.cidr, b.cidr));
    for (const prefix of ordered) {
      while (way.length > 0 && !containsBlock(way[way.length - 1]!.prefix.cidr, prefix.cidr)) leave();
      const around = way.at(-1)?.inside ?? nowhere;
      const { text } = prefix.cidr;
      let change = '';
      for (const rule of begin.get(text) ?? []) {
        count(rule, 1);
        change += `+${rule.serial}`;
      }
      for (const rule of end.get(text) ?? []) {
        count(rule, -1);
        change += `-${rule.serial}`;
      }
      let inside = around.made.get(change);
      if (inside === undefined) {
        const grants = [...active.keys()].map((rule) => this.#grant(rule, null));
        inside = { set: portSets.of(grants), made: new Map() };
        around.made.set(change, inside);
      }
      way.push({ prefix, inside });
      if (inside.set !== around.set) cells.push({ prefix, set: portSets.use(inside.set) });
    }
    this.blockCells = cells;
  }
}

/** Egress before ingress, then by policies in image order, then by the numbers behind named ports. */
export function compareRows(a: Row, b: Row): number {
  if (a.direction !== b.direction) return a.direction === 'egress' ? -1 : 1;
  for (let i = 0; i < a.policies.length && i < b.policies.length; i++) {
    const difference = a.policies[i]!.index - b.policies[i]!.index;
    if (difference !== 0) return difference;
  }
  const [x, y] = [resolvedText(a.resolved), resolvedText(b.resolved)];
  return a.policies.length - b.policies.length || (x < y ? -1 : x > y ? 1 : 0);
}

function placeFor<K, V>(map: Map<K, Set<V>>, key: K): Set<V> {
  let set = map.get(key);
  if (set === undefined) {
    set = new Set();
    map.set(key, set);
  }
  return set;
}

function removeFrom<K, V>(map: Map<K, Set<V>>, key: K, value: V): void {
  const set = map.get(key);
  if (set?.delete(value) && set.size === 0) map.delete(key);
}

function pushTo<K, V>(map: Map<K, V[]>, key: K, value: V): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}
