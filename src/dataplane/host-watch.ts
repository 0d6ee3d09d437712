/**
 * Turns the kernel's word that somebody has touched the host port's interface into looks at it. Commands such as `ip addr flush` come as a
 * series of changes, and who fights with us (a network manager) may never stop: so a look waits for the series to end, and is followed
 * by a pause.
 */

/** Milliseconds. */
const series = 20;
const pause = 1000;

export class HostWatch {
  readonly #look: () => Promise<void>;
  #timer: NodeJS.Timeout | null = null;
  #again = false;
  #stopped = false;

  /** `look` finds out what is the matter; it never rejects. */
  constructor(look: () => Promise<void>) {
    this.#look = look;
  }

  touched(): void {
    if (this.#timer !== null) this.#again = true;
    else this.#after(series);
  }

  stop(): void {
    this.#stopped = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  #after(milliseconds: number): void {
    if (this.#stopped) return;
    this.#timer = setTimeout(() => {
      this.#again = false;
      void this.#look().then(() => this.#rest());
    }, milliseconds);
    this.#timer.unref();
  }

  #rest(): void {
    if (this.#stopped) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      if (this.#again) this.#after(series);
    }, pause);
    this.#timer.unref();
  }
}
