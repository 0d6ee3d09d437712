/**
 * How long to wait before the next attempt: doubles with each failure up to a bound, and is spread (half to one and a half of it), so that
 * the nodes of a cluster do not all come back to a server in one moment.
 */
export class Backoff {
  readonly #first: number;
  readonly #longest: number;
  readonly #random: () => number;
  #step = 0;

  /** Milliseconds. `random` gives a number from 0 to 1. */
  constructor(first: number, longest: number, random: () => number) {
    this.#first = first;
    this.#longest = longest;
    this.#random = random;
  }

  next(): number {
    const base = Math.min(this.#first * 2 ** Math.min(this.#step++, 30), this.#longest);
    return base * (0.5 + this.#random());
  }

  reset(): void {
    this.#step = 0;
  }
}
