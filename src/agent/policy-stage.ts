/**
 * From the node's state to an image file: compiles when what the compiler sees is different, keeps the image before when it fails.
 */
import type { Config } from '../config/options.js';
import { type Problem, WeftError } from '../errors/problem.js';
import type { Compile, CompiledFigures } from './compile.js';
import type { ImageFiles } from './image-files.js';
import type { NodeState } from './node-state.js';

export interface CompileFigures {
  readonly count: number;
  readonly lastMilliseconds: number;
  readonly imageBytes: number;
}

export class PolicyStage {
  readonly #compile: Compile;
  readonly #files: ImageFiles;
  readonly #now: () => number;
  #image: string | null = null;
  /** Everything that the last image was made from, as text. */
  #madeFrom = '';
  /** Local pods, and their names in order as text. */
  #pods: readonly [ReadonlySet<string>, string] = [new Set(), '[]'];
  #error: Problem | null = null;
  #problems: readonly Problem[] = [];
  #figures: CompiledFigures = { identities: 0, classes: 0, programs: 0, services: 0 };
  #compiles: CompileFigures = { count: 0, lastMilliseconds: 0, imageBytes: 0 };

  constructor(compile: Compile, files: ImageFiles, now: () => number) {
    this.#compile = compile;
    this.#files = files;
    this.#now = now;
  }

  /** File of the latest image; null before the first. */
  get image(): string | null {
    return this.#image;
  }
  /** Whether somebody has removed the file, so that the next update makes it anew. */
  get lost(): boolean {
    return this.#image !== null && !this.#files.has(this.#image);
  }
  get figures(): CompiledFigures {
    return this.#figures;
  }
  get compiles(): CompileFigures {
    return this.#compiles;
  }
  /** Why there is no newer image. */
  get error(): Problem | null {
    return this.#error;
  }
  get problems(): readonly Problem[] {
    return this.#error === null ? this.#problems : [...this.#problems, this.#error];
  }

  /** true: there is a new image. */
  update(state: NodeState, config: Config): boolean {
    const { policy, limits } = config;
    const localPods = state.localPods();
    if (this.#pods[0] !== localPods) this.#pods = [localPods, JSON.stringify([...localPods].sort())];
    const from = `${this.#pods[1]} ${JSON.stringify([state.world.revision, policy, limits])}`;
    if (from === this.#madeFrom && !this.lost) return false;
    const started = this.#now();
    try {
      const compiled = this.#compile({
        world: state.world,
        node: state.node.name,
        localPods,
        policy,
        limits,
      });
      const lastMilliseconds = this.#now() - started;
      this.#image = this.#files.write(compiled.bytes);
      this.#figures = compiled.figures;
      this.#problems = compiled.problems;
      this.#error = null;
      this.#madeFrom = from;
      this.#compiles = {
        count: this.#compiles.count + 1,
        lastMilliseconds,
        imageBytes: compiled.bytes.byteLength,
      };
      return true;
    } catch (error) {
      // The image before stays in force: a pod that is not in it gets nothing through.
      this.#error = expected(error);
      return false;
    }
  }
}

/** A limit of the compiler or a full disk; anything else is a bug and is thrown on. */
function expected(error: unknown): Problem {
  if (error instanceof WeftError) return { code: error.code, severity: 'error', message: error.message };
  const { syscall, code, path } = error as NodeJS.ErrnoException;
  if (syscall === undefined) throw error;
  return {
    code: 'image-write',
    severity: 'error',
    message: `The policy image could not be written (${syscall}${path === undefined ? '' : ` ${path}`}: ${code}).`,
    fix: 'Make room in the run directory.',
  };
}
