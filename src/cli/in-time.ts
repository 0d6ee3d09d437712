/**
 * Lines of several streams in the order of their times. Each stream is in order by itself, and how much one lags behind the others is not
 * known; so a line is held for a while, and whatever is earlier and has come by then goes before it.
 */
interface Held {
  readonly time: string;
  readonly came: number;
  readonly line: string;
}

export class InTime {
  readonly #hold: number;
  readonly #now: () => number;
  readonly #print: (text: string) => void;
  #held: Held[] = [];

  /** `hold` in units of `now`. */
  constructor(hold: number, now: () => number, print: (text: string) => void) {
    this.#hold = hold;
    this.#now = now;
    this.#print = print;
  }

  /** `time` such that text order is its order. */
  add(time: string, line: string): void {
    this.#held.push({ time, came: this.#now(), line });
  }

  /** Prints what has been held for long enough, after all that is earlier. */
  flushRipe(): void {
    const ripe = this.#now() - this.#hold;
    this.#sort();
    const last = this.#held.findLastIndex(({ came }) => came <= ripe);
    for (const { line } of this.#held.splice(0, last + 1)) this.#print(line);
  }

  flush(): void {
    this.#sort();
    for (const { line } of this.#held.splice(0)) this.#print(line);
  }

  /** Stable: lines of one time stay as they came. */
  #sort(): void {
    this.#held.sort((a, b) => (a.time < b.time ? -1 : a.time > b.time ? 1 : 0));
  }
}
