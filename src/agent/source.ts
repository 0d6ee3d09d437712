/** Where the world comes from: a folder of manifests, or the Kubernetes API. Sources turn outside data into typed events, once. */

import type { Problem } from '../errors/problem.js';
import type { WorldEvent } from '../model/event.js';

export interface SourceSink {
  /** In order; a source tells only what changed. */
  apply(events: readonly WorldEvent[]): void;
  /** Everything that was there when the source started has been applied. May be called again; nothing is published before. */
  synced(): void;
  /** All that is wrong now with what the source reads; replaces what it said before. */
  problems(problems: readonly Problem[]): void;
}

export interface Source {
  readonly name: string;
  start(sink: SourceSink): void;
  /** Resolves when all that is outside now has been applied. */
  refresh(): Promise<void>;
  stop(): void;
  /** Objects that the source holds. */
  readonly size: number;
  /** Whether addresses that its pods carry were assigned by a person and have to be given to the pod (manifests). */
  readonly assignsAddresses: boolean;
}
