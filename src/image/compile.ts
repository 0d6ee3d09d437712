/**
 * World → image, in one call or step by step. `compile` for tools and tests, `Compiler` for an agent that follows a changing World; both give
 * the same bytes for the same contents.
 */
import type { Problem } from '../errors/problem.js';
import { describeTerm } from '../identity/term.js';
import { keyOf } from '../model/event.js';
import type { Pod } from '../model/pod.js';
import type { Direction, NetworkPolicy, PolicyRule } from '../model/policy.js';
import type { World } from '../model/world.js';
import type { Address } from '../net/address.js';
import { PolicyCompiler, type PolicyOptions } from '../policy/compiler.js';
import type { PolicyTables } from '../policy/tables.js';
import { ImageEncoder } from './encode.js';

export type CompileOptions = PolicyOptions;

export interface CompileStats {
  readonly pods: number;
  readonly localPods: number;
  readonly policies: number;
  /** Policies that select a local pod, and their rules. */
  readonly policiesInForce: number;
  readonly rulesInForce: number;
  readonly terms: number;
  readonly identities: number;
  readonly prefixes: number;
  readonly classes: number;
  readonly programs: number;
  readonly rows: number;
  readonly identityCells: number;
  readonly blockCells: number;
  readonly portSets: number;
  readonly addresses: number;
  readonly services: number;
  readonly imageBytes: number;
}

export type Owner =
  | { readonly kind: 'pod'; readonly pod: Pod }
  | { readonly kind: 'node'; readonly name: string }
  /** Traffic that this node's host masquerades. */
  | { readonly kind: 'forwarded'; readonly name: string }
  | { readonly kind: 'service' };

/** Answers in the words of the World. A live view: valid until the compiler's next update. */
export interface Explain {
  /** By the image's policy index. */
  readonly policies: readonly NetworkPolicy[];
  /** By the image's rule index. */
  rule(index: number): {
    readonly policy: NetworkPolicy;
    readonly direction: Direction;
    readonly position: number;
    readonly rule: PolicyRule;
  };
  /** Who has the address, or undefined for the rest of the world. */
  ownerOf(address: Address): Owner | undefined;
  /** The policies that select a local pod and isolate it in this direction, in the order of the image. */
  isolating(pod: Pod, direction: Direction): readonly NetworkPolicy[];
  /** The image's identity of an address, or undefined where it is no pod's. */
  identityOf(address: Address): number | undefined;
  /** The identity as text: what policy in force can tell of its pods, one line each. */
  describeIdentity(index: number): readonly string[];
}

export interface Compiled {
  readonly image: Uint8Array<ArrayBuffer>;
  readonly problems: readonly Problem[];
  readonly stats: CompileStats;
  readonly explain: Explain;
}

export class Compiler {
  readonly #policy: PolicyCompiler;
  readonly #encoder = new ImageEncoder();

  /** Follows this World; reads it at every update. */
  constructor(world: World, options: CompileOptions = {}) {
    this.#policy = new PolicyCompiler(world, options);
  }

  /** The image of the World as it is now, in `room` if it fits. */
  update(room?: Uint8Array<ArrayBuffer>): Compiled {
    const tables = this.#policy.update();
    const image = this.#encoder.encode(tables, room);
    return {
      image,
      problems: this.#policy.problems,
      stats: this.#stats(tables, image.length),
      explain: explain(tables, this.#policy),
    };
  }

  #stats(tables: PolicyTables, imageBytes: number): CompileStats {
    return {
      pods: this.#policy.podCount,
      localPods: this.#policy.localCount,
      policies: this.#policy.policyCount,
      policiesInForce: tables.policies.length,
      rulesInForce: tables.rules.length,
      terms: this.#policy.termCount,
      identities: tables.identities.length,
      prefixes: tables.prefixes.length,
      classes: 1 + tables.prefixes.length + tables.classes.length,
      programs: tables.programs.length,
      rows: tables.rows.length,
      identityCells: tables.rows.reduce((sum, { cells }) => sum + cells.size, 0),
      blockCells: tables.rows.reduce((sum, { blockCells }) => sum + blockCells.length, 0),
      portSets: tables.portSets.length,
      addresses: tables.addresses.size,
      services: this.#policy.serviceCount,
      imageBytes,
    };
  }
}

function explain(tables: PolicyTables, compiler: PolicyCompiler): Explain {
  return {
    get policies() {
      return tables.policies.map(({ policy }) => policy);
    },
    rule(index) {
      const entry = tables.rules[index]!;
      return {
        policy: entry.policy.policy,
        direction: entry.direction,
        position: entry.position,
        rule: entry.rule,
      };
    },
    ownerOf(address) {
      const entry = tables.addresses.get(address.text);
      if (entry === undefined) return undefined;
      if (entry.owner !== null) return { kind: 'pod', pod: entry.owner };
      if (entry.node !== null)
        return { kind: entry.forwarded ? 'forwarded' : 'node', name: compiler.addresses.nodeOf(address)! };
      return { kind: 'service' };
    },
    isolating(pod, direction) {
      return compiler
        .policiesOf(keyOf(pod.namespace, pod.name))
        .filter(({ rules }) => rules[direction] !== null)
        .sort((a, b) => a.index - b.index)
        .map(({ policy }) => policy);
    },
    identityOf(address) {
      return tables.addresses.get(address.text)?.identity?.index;
    },
    describeIdentity(index) {
      return tables.identities[index]!.terms.map(({ spec }) => describeTerm(spec)).sort();
    },
  };
}

/** The image of a World. */
export function compile(world: World, options: CompileOptions = {}): Compiled {
  return new Compiler(world, options).update();
}
