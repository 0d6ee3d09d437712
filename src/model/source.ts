/** Where the world comes from: a folder of manifests, or the Kubernetes API. Sources turn outside data into typed events, once. */

import type { Problem } from '../errors/problem.js';
import type { WorldEvent } from './event.js';

export interface SourceSink {
  /** In order; a source tells only what changed. */
  apply(events: readonly WorldEvent[]): void;
  /** Everything that was there when the source started has been applied. May be called again; nothing is published before. */
  synced(): void;
  /** All that is wrong now with what the source reads; replaces what it said before. */
  problems(problems: readonly Problem[]): void;
}

/** How a source that watches a server stands with one kind of object. */
export interface WatchState {
  /** As the server calls it: `pods`. */
  readonly resource: string;
  /** `listing` also before the first list; `away`: the last attempt failed, what was known stays in force. */
  readonly state: 'listing' | 'watching' | 'away';
  /** Since the server was heard last on this kind; null: never. */
  readonly secondsSinceContact: number | null;
  /** Full lists and broken-off attempts since the start. */
  readonly lists: number;
  readonly failures: number;
  /** Events that could not be read; each is made good by a new list. */
  readonly garbled: number;
  readonly objects: number;
}

/** What a question for one pod came to; `away`: the server could not be asked. */
export type LookUp = 'known' | 'absent' | 'away';

export interface Source {
  readonly name: string;
  start(sink: SourceSink): void;
  /** Resolves when all that is outside now has been applied; rejects where the outside cannot be reached. */
  refresh(): Promise<void>;
  stop(): void;
  /** Objects that the source holds. */
  readonly size: number;
  /** Whether addresses that its pods carry were assigned by a person and have to be given to the pod (manifests). */
  readonly assignsAddresses: boolean;
  /** One for each kind that is watched; absent where nothing can be away. */
  readonly watches?: readonly WatchState[];
  /** Asks for one pod past the watch, which may lag behind it; what is found is applied. Bounded in time, never rejects. */
  lookUp?(namespace: string, name: string): Promise<LookUp>;
}
