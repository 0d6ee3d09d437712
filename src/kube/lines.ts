/**
 * Bytes → lines. Cut at the byte 0x0a and decoded as a whole, so that a character of several bytes may be split over chunks. Memory is
 * bounded by `longest`: a line beyond it is passed over to its end and told once.
 */
export class LineCutter {
  readonly #longest: number;
  readonly #line: (text: string) => void;
  readonly #tooLong: () => void;
  #parts: Buffer[] = [];
  #held = 0;
  #skipping = false;

  /** `longest` in bytes. Empty lines are not told. */
  constructor(longest: number, line: (text: string) => void, tooLong: () => void) {
    this.#longest = longest;
    this.#line = line;
    this.#tooLong = tooLong;
  }

  push(chunk: Buffer): void {
    let start = 0;
    for (let end = chunk.indexOf(0x0a); end >= 0; end = chunk.indexOf(0x0a, start)) {
      this.#take(chunk.subarray(start, end));
      this.#finish();
      start = end + 1;
    }
    if (start < chunk.length) this.#take(chunk.subarray(start));
  }

  #take(bytes: Buffer): void {
    if (this.#skipping) return;
    this.#held += bytes.length;
    if (this.#held > this.#longest) {
      this.#skipping = true;
      this.#parts = [];
      this.#tooLong();
    } else if (bytes.length > 0) this.#parts.push(bytes);
  }

  #finish(): void {
    const text =
      this.#parts.length === 1 ? this.#parts[0]!.toString() : Buffer.concat(this.#parts).toString();
    const told = !this.#skipping && text !== '' && text !== '\r';
    this.#parts = [];
    this.#held = 0;
    this.#skipping = false;
    if (told) this.#line(text);
  }
}
