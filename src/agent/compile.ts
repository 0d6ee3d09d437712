/** The seam between the agent and the compiler: what a compile is given, and what comes out of it. */
import type { Config } from '../config/options.js';
import type { Problem } from '../errors/problem.js';
import type { World } from '../model/world.js';

export interface CompileRequest {
  readonly world: World;
  /** Name of this node. */
  readonly node: string;
  /** Keys of the pods that are attached here and known: they get programs. */
  readonly localPods: ReadonlySet<string>;
  readonly policy: Config['policy'];
  readonly limits: Config['limits'];
}

export interface CompiledFigures {
  readonly identities: number;
  readonly classes: number;
  readonly programs: number;
  readonly services: number;
}

export interface CompiledImage {
  readonly bytes: Uint8Array;
  readonly figures: CompiledFigures;
  /** What could not be honoured and was left out, closed. */
  readonly problems: readonly Problem[];
}

/** The bytes are valid until the next compile. Throws a WeftError where a limit is exceeded as a whole: the image before stays in force. */
export type Compile = (request: CompileRequest) => CompiledImage;
