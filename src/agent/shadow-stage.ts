/**
 * The image of a trial: the node's World with some policies put in, replaced or left out, compiled anew whenever the real one could be
 * another. It follows the World by its journal, so that a change costs what changed; objects are shared, so that a trial costs the maps
 * and its own image, and all of that goes with it.
 */
import type { Config } from '../config/options.js';
import { type Problem, WeftError } from '../errors/problem.js';
import { type Kind, keyOf, type Objects } from '../model/event.js';
import type { NetworkPolicy } from '../model/policy.js';
import type { World } from '../model/world.js';
import type { Compile } from './compile.js';
import type { ImageFiles } from './image-files.js';
import type { NodeState } from './node-state.js';

export interface PolicyChanges {
  /** Added; in place of one of the same namespace and name where there is one. */
  readonly put: readonly NetworkPolicy[];
  /** Keys (`namespace/name`) of those that are left out. */
  readonly remove: ReadonlySet<string>;
}

export class ShadowStage {
  /** The switch tells trials apart by it. */
  readonly trial: number;
  readonly #changes: PolicyChanges;
  readonly #decided: ReadonlySet<string>;
  readonly #compile: Compile;
  readonly #files: ImageFiles;
  #world: World | null = null;
  /** Revision of the node's World that #world has caught up with. */
  #seen = 0;
  #madeFrom = '';
  #image: string | null = null;
  #error: WeftError | null = null;
  #problems: readonly Problem[] = [];

  constructor(trial: number, changes: PolicyChanges, compile: Compile, files: ImageFiles) {
    this.trial = trial;
    this.#changes = changes;
    this.#decided = new Set([
      ...changes.remove,
      ...changes.put.map(({ namespace, name }) => keyOf(namespace, name)),
    ]);
    this.#compile = compile;
    this.#files = files;
  }

  /** File of the latest image; null where there is none of the World as it is. */
  get image(): string | null {
    return this.#image;
  }
  /** Why there is none. A trial does not go on with an image of another world than the real one's: its differences would not be the policies'. */
  get error(): WeftError | null {
    return this.#error;
  }
  get problems(): readonly Problem[] {
    return this.#problems;
  }

  update(state: NodeState, config: Config): void {
    const { policy, limits } = config;
    const localPods = state.localPods();
    const from = JSON.stringify([state.world.revision, [...localPods].sort(), policy, limits]);
    if (from === this.#madeFrom) return;
    try {
      const compiled = this.#compile({
        world: this.#follow(state.world),
        node: state.node.name,
        localPods,
        policy,
        limits,
      });
      this.#image = this.#files.write(compiled.bytes);
      this.#problems = compiled.problems;
      this.#error = null;
      this.#madeFrom = from;
    } catch (error) {
      this.#image = null;
      this.#error = expected(error);
    }
  }

  #follow(world: World): World {
    const touched = this.#world === null ? undefined : world.touchedSince(this.#seen);
    if (touched === undefined) this.#world = this.#anew(world);
    else for (const { kind, key } of touched) copyOne(world, this.#world!, kind, key, this.#decided);
    this.#seen = world.revision;
    return this.#world!;
  }

  #anew(world: World): World {
    const copy = world.copy();
    for (const key of this.#decided) remove(copy, 'policy', key);
    for (const policy of this.#changes.put) copy.put('policy', policy);
    return copy;
  }
}

function copyOne(
  from: World,
  to: World,
  kind: Kind,
  key: string,
  decidedPolicies: ReadonlySet<string>,
): void {
  if (kind === 'policy' && decidedPolicies.has(key)) return;
  const theirs = from.get(kind, key);
  const mine = to.get(kind, key);
  if (theirs === mine) return;
  // A World keeps the later life of a name; which one it is has been decided where the object comes from.
  if (mine !== undefined && (theirs === undefined || uidOf(mine) !== uidOf(theirs))) remove(to, kind, key);
  if (theirs !== undefined) to.put(kind, theirs);
}

function remove(world: World, kind: Kind, key: string): void {
  const held = world.get(kind, key);
  if (held === undefined) return;
  const namespace = 'namespace' in held ? held.namespace : '';
  world.apply({ type: 'delete', kind, namespace, name: held.name });
}

function uidOf(object: Objects[Kind]): string {
  return 'uid' in object ? object.uid : '';
}

/** A limit of the compiler or a full disk; anything else is a bug and is thrown on. */
function expected(error: unknown): WeftError {
  if (error instanceof WeftError) return error;
  const { syscall, code, path } = error as NodeJS.ErrnoException;
  if (syscall === undefined) throw error;
  return new WeftError(
    'image-write',
    `The image of the trial could not be written (${syscall}${path === undefined ? '' : ` ${path}`}: ${code}). Make room in the run directory.`,
  );
}
