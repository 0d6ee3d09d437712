/**
 * The elements of a section of which a part is exchanged and the rest stays: what lies behind the part moves, in place where there is room.
 * A quarter of what is needed is kept free once it had to grow; what was never changed has no room to spare.
 */
type Elements = Uint8Array<ArrayBuffer> | Uint32Array<ArrayBuffer>;

export class Spliced<Words extends Elements> {
  readonly #make: (length: number) => Words;
  #held: Words;
  #length = 0;

  constructor(make: (length: number) => Words) {
    this.#make = make;
    this.#held = make(0);
  }

  get length(): number {
    return this.#length;
  }

  /** Those that are held; valid until the next change. */
  get elements(): Words {
    return this.#held.subarray(0, this.#length) as Words;
  }

  /** As bytes, likewise. */
  get bytes(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.#held.buffer, 0, this.#length * this.#held.BYTES_PER_ELEMENT);
  }

  /** Puts `inserted` in place of the `removed` elements from `at` on. */
  splice(at: number, removed: number, inserted: Words): void {
    const length = this.#length - removed + inserted.length;
    const old = this.#held;
    if (length > old.length || length < old.length >> 1) {
      this.#held = this.#make(this.#length === 0 ? length : length + (length >> 2));
      this.#held.set(old.subarray(0, at));
      this.#held.set(old.subarray(at + removed, this.#length), at + inserted.length);
    } else if (removed !== inserted.length) old.copyWithin(at + inserted.length, at + removed, this.#length);
    this.#held.set(inserted, at);
    this.#length = length;
  }
}
