/**
 * When changes are taken up: the first one after a quiet tick at once, with whatever came in the same turn; those that follow are
 * gathered until a tick after the last desired state.
 */
export class Tick {
  readonly #act: () => void;
  readonly #length: () => number;
  readonly #now: () => number;
  #waiting: { cancel(): void } | null = null;
  #last = Number.NEGATIVE_INFINITY;
  #stopped = false;

  /** `length` and `now` in milliseconds; `now` is a clock that only goes forward. */
  constructor(act: () => void, length: () => number, now: () => number) {
    this.#act = act;
    this.#length = length;
    this.#now = now;
  }

  /** There is something to take up. */
  ask(): void {
    if (this.#waiting !== null || this.#stopped) return;
    const act = () => {
      this.#waiting = null;
      this.#act();
    };
    const wait = this.#last + this.#length() - this.#now();
    if (wait > 0) {
      const timer = setTimeout(act, wait);
      this.#waiting = { cancel: () => clearTimeout(timer) };
    } else {
      // Not from within: a source may have more to tell in this turn.
      const turn = setImmediate(act);
      this.#waiting = { cancel: () => clearImmediate(turn) };
    }
  }

  /** It was taken up now. */
  passed(): void {
    this.#last = this.#now();
  }

  stop(): void {
    this.#stopped = true;
    this.#waiting?.cancel();
  }
}
