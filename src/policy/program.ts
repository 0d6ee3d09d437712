/**
 * Programs: what local pods are judged by. Pods that the same policies select, and whose named ports have the same numbers where those
 * policies ask, share one. Rows are shared again between programs, because pods often differ in one direction only.
 */

import type { Pod } from '../model/pod.js';
import type { Direction } from '../model/policy.js';
import { compareRows, Row, type RowContext, resolvedText, resolveOwnPorts } from './row.js';
import { comparePolicies, type PolicyEntry, type RuleEntry } from './rule.js';
import { type Indexed, SortedList } from './sorted-list.js';

export class Program implements Indexed {
  /** null: no policy isolates the direction. */
  readonly egress: Row | null;
  readonly ingress: Row | null;
  readonly key: string;
  index = -1;
  uses = 0;

  constructor(egress: Row | null, ingress: Row | null, key: string) {
    this.egress = egress;
    this.ingress = ingress;
    this.key = key;
  }
}

function comparePrograms(a: Program, b: Program): number {
  return (
    (a.egress?.index ?? -1) - (b.egress?.index ?? -1) || (a.ingress?.index ?? -1) - (b.ingress?.index ?? -1)
  );
}

export class ProgramTable {
  readonly #context: RowContext;
  readonly #rows = new Map<string, Row>();
  readonly #programs = new Map<string, Program>();
  readonly #policyList = new SortedList<PolicyEntry>(comparePolicies);
  readonly #rowList = new SortedList<Row>(compareRows);
  readonly #programList = new SortedList<Program>(comparePrograms);
  readonly #idle = new Set<Program>();
  #unbuilt: Row[] = [];
  #rules: RuleEntry[] = [];

  constructor(context: RowContext) {
    this.#context = context;
  }

  get policies(): readonly PolicyEntry[] {
    return this.#policyList.items;
  }

  get rules(): readonly RuleEntry[] {
    return this.#rules;
  }

  get rows(): readonly Row[] {
    return this.#rowList.items;
  }

  get programs(): readonly Program[] {
    return this.#programList.items;
  }

  /** The program of a local pod that these policies select; one use more. */
  acquire(policies: readonly PolicyEntry[], pod: Pod): Program {
    const sorted = [...policies].sort(comparePolicies);
    const egress = this.#row('egress', sorted, pod);
    const ingress = this.#row('ingress', sorted, pod);
    const key = `${egress?.key ?? ''}|${ingress?.key ?? ''}`;
    let program = this.#programs.get(key);
    if (program === undefined) {
      program = new Program(egress, ingress, key);
      this.#programs.set(key, program);
      this.#programList.add(program);
      if (egress !== null) egress.uses++;
      if (ingress !== null) ingress.uses++;
    }
    program.uses++;
    return program;
  }

  release(program: Program): void {
    if (--program.uses === 0) this.#idle.add(program);
  }

  /** Lets go of what nobody uses, and gives policies and rules their numbers. True where those changed. */
  settlePolicies(): boolean {
    for (const program of this.#idle) {
      if (program.uses > 0) continue;
      this.#programs.delete(program.key);
      this.#programList.delete(program);
      for (const row of [program.egress, program.ingress]) {
        if (row !== null && --row.uses === 0) this.#dispose(row);
      }
    }
    this.#idle.clear();
    if (!this.#policyList.settle()) return false;
    this.#rules = this.#policyList.items.flatMap(({ rules }) => [
      ...(rules.egress ?? []),
      ...(rules.ingress ?? []),
    ]);
    for (let i = 0; i < this.#rules.length; i++) this.#rules[i]!.order = i;
    return true;
  }

  /** Computes the cells of new rows and says which those are. Rules are numbered, identities and prefixes settled. */
  buildRows(): ReadonlySet<Row> {
    const built = new Set(this.#unbuilt.filter(({ uses }) => uses > 0));
    for (const row of built) row.build();
    this.#unbuilt = [];
    return built;
  }

  settleRows(): boolean {
    return this.#rowList.settle();
  }

  settlePrograms(): boolean {
    return this.#programList.settle();
  }

  #row(direction: Direction, selecting: readonly PolicyEntry[], pod: Pod): Row | null {
    const policies = selecting.filter(({ rules }) => rules[direction] !== null);
    if (policies.length === 0) return null;
    const resolved = direction === 'ingress' ? resolveOwnPorts(policies, pod) : new Map();
    const key = `${direction}:${policies.map(({ serial }) => serial).join(',')}:${resolvedText(resolved)}`;
    let row = this.#rows.get(key);
    if (row === undefined) {
      row = new Row(this.#context, direction, policies, resolved, key);
      this.#rows.set(key, row);
      this.#rowList.add(row);
      this.#unbuilt.push(row);
      row.register();
      for (const policy of policies) if (policy.uses++ === 0) this.#policyList.add(policy);
    }
    return row;
  }

  #dispose(row: Row): void {
    this.#rows.delete(row.key);
    this.#rowList.delete(row);
    row.release();
    for (const policy of row.policies) if (--policy.uses === 0) this.#policyList.delete(policy);
  }
}
