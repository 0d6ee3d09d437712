/** The agent's sources together: whether all have synced, what is wrong with them, and questions that all are asked. */
import { type Problem, WeftError } from '../errors/problem.js';
import type { WorldEvent } from '../model/event.js';
import type { LookUp, Source } from '../model/source.js';
import type { SourceStatus } from './protocol/answers.js';

export interface SourcesHandlers {
  apply(events: readonly WorldEvent[]): void;
  /** One more source has synced. */
  synced(): void;
  log(level: 'info' | 'warn' | 'error', message: string, fields: Readonly<Record<string, unknown>>): void;
}

interface SourceState {
  readonly source: Source;
  synced: boolean;
  problems: readonly Problem[];
}

export class Sources {
  readonly #states: readonly SourceState[];
  readonly #handlers: SourcesHandlers;

  constructor(sources: readonly Source[], handlers: SourcesHandlers) {
    this.#states = sources.map((source) => ({ source, synced: false, problems: [] }));
    this.#handlers = handlers;
  }

  start(): void {
    for (const state of this.#states) {
      state.source.start({
        apply: (events) => this.#handlers.apply(events),
        synced: () => {
          if (state.synced) return;
          state.synced = true;
          this.#handlers.log('info', 'source has synced', {
            source: state.source.name,
            objects: state.source.size,
          });
          this.#handlers.synced();
        },
        problems: (problems) => this.#newProblems(state, problems),
      });
    }
  }

  stop(): void {
    for (const { source } of this.#states) source.stop();
  }

  /** Resolves when all that is outside now has been applied; rejects where a source cannot be reached. */
  async refresh(): Promise<void> {
    for (const { source } of this.#states) await source.refresh();
  }

  get synced(): boolean {
    return this.#states.every(({ synced }) => synced);
  }

  /** Whether one of them is a server that can be asked for a pod. */
  get followsApi(): boolean {
    return this.#states.some(({ source }) => source.lookUp !== undefined);
  }

  /** Whether addresses that pods of a source carry have to be given to them. */
  get assignsAddresses(): boolean {
    return this.#states.some(({ source }) => source.assignsAddresses);
  }

  get status(): readonly SourceStatus[] {
    return this.#states.map(({ source, synced, problems }) => ({
      name: source.name,
      synced,
      objects: source.size,
      problems: problems.length,
      ...(source.watches === undefined ? {} : { watches: source.watches }),
    }));
  }

  get problems(): readonly Problem[] {
    return this.#states.flatMap(({ problems }) => problems);
  }

  /** Asks every source for one pod. Absent is only what all say; null: a source cannot be asked, and may tell of it at any time. */
  async lookUp(namespace: string, name: string): Promise<LookUp | null> {
    const found = await Promise.all(
      this.#states.map(({ source }) => source.lookUp?.(namespace, name) ?? null),
    );
    for (const answer of ['known', 'away', null] as const) if (found.includes(answer)) return answer;
    return 'absent';
  }

  /** Why nothing is published yet; null: all have synced. */
  get complaint(): WeftError | null {
    const waiting = this.#states.filter(({ synced }) => !synced);
    if (waiting.length === 0) return null;
    const problems = waiting.flatMap((state) => state.problems);
    const names = waiting.map(({ source }) => source.name).join(', ');
    const first = problems[0];
    return new WeftError(
      'source-not-synced',
      `The source ${names} has not synced${first === undefined ? '' : `: ${first.message}`}`,
      { problems },
    );
  }

  /** Says in the log what is new. */
  #newProblems(state: SourceState, problems: readonly Problem[]): void {
    const before = new Set(state.problems.map((problem) => JSON.stringify(problem)));
    state.problems = problems;
    for (const problem of problems) {
      if (problem.severity === 'info' || before.has(JSON.stringify(problem))) continue;
      this.#handlers.log(problem.severity === 'error' ? 'error' : 'warn', problem.message, {
        code: problem.code,
        source: problem.source,
      });
    }
  }
}
