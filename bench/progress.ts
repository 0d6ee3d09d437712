/**
 * What the run is doing, on standard error: one line that is rewritten on a terminal, plain lines elsewhere. Written only between samples,
 * never while one is measured.
 */

export interface Output {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

/** `4 min 10 s`, `35 s`. */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min ${whole % 60} s`;
}

const quietSeconds = 5;

export class Progress {
  readonly #output: Output;
  readonly #clock: () => number;
  readonly #begun: number;
  /** Seconds, as estimated before the start. */
  readonly #total: number;
  #done = 0;
  #shown = '';
  #written = Number.NEGATIVE_INFINITY;

  /** `total`: estimated seconds of the whole run; `clock` gives milliseconds. */
  constructor(output: Output, total: number, clock: () => number) {
    this.#output = output;
    this.#clock = clock;
    this.#begun = clock();
    this.#total = total;
  }

  /** Something that was estimated at this many seconds is over. */
  advance(estimated: number): void {
    this.#done += estimated;
  }

  /** Seconds left: what is left of the estimate, at the pace that was seen. Early on the estimate itself counts for more. */
  get left(): number {
    const elapsed = (this.#clock() - this.#begun) / 1000;
    const doubt = this.#total * 0.1;
    const pace = (elapsed + doubt) / (this.#done + doubt);
    return Math.max(0, this.#total - this.#done) * pace;
  }

  /** What is going on now. */
  step(text: string): void {
    const shown = `${text}; ${duration(this.left)} left`;
    if (!this.#output.isTTY) {
      // A log of a long run stays readable: at most a line in so many seconds.
      if (this.#clock() - this.#written < quietSeconds * 1000) return;
      this.#written = this.#clock();
      this.#output.write(`bench: ${shown}\n`);
      return;
    }
    const line = `bench: ${shown}`.slice(0, Math.max(20, (this.#output.columns ?? 80) - 1));
    this.#output.write(`\r\x1b[K${line}`);
    this.#shown = line;
  }

  /** Something that stays to be read. */
  note(text: string): void {
    this.#output.write(this.#output.isTTY ? `\r\x1b[Kbench: ${text}\n` : `bench: ${text}\n`);
  }

  /** Removes the line on a terminal. */
  end(): void {
    if (this.#output.isTTY && this.#shown !== '') this.#output.write('\r\x1b[K');
  }
}
