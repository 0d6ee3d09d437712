/** Those who wait for the switch: each is asked again after every acknowledgement, and told why when its patience is over. */
import { WeftError } from '../errors/problem.js';

/** null: go on waiting. Throwing ends the wait with that error. */
export type Check<Value> = () => { readonly value: Value } | null;

export class Waiters {
  readonly #asking = new Set<() => void>();
  #stopped = false;

  /** Resolves with what `check` gives, rejects with what it throws, or with `complaint()` after `patience` milliseconds. */
  wait<Value>(patience: number, check: Check<Value>, complaint: () => WeftError): Promise<Value> {
    return new Promise((resolve, reject) => {
      const end = (then: () => void) => {
        clearTimeout(timer);
        this.#asking.delete(ask);
        then();
      };
      const ask = () => {
        if (this.#stopped) {
          end(() => reject(new WeftError('agent-stopping', 'The agent is stopping. Try again.')));
          return;
        }
        try {
          const found = check();
          if (found !== null) end(() => resolve(found.value));
        } catch (error) {
          end(() => reject(error as Error));
        }
      };
      const timer = setTimeout(() => end(() => reject(complaint())), patience);
      this.#asking.add(ask);
      ask();
    });
  }

  /** Something has changed. */
  settle(): void {
    for (const ask of [...this.#asking]) ask();
  }

  stop(): void {
    this.#stopped = true;
    this.settle();
  }
}
