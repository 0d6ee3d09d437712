/**
 * Equal values held once. The pods of a Deployment share labels, ports and node; decoded one by one each would have its own copies. Two
 * generations bound the memory without counting uses: what was asked for lately survives, what nobody asks for any more is forgotten.
 */
export class Interner<Value> {
  readonly #most: number;
  #young = new Map<string, Value>();
  #old = new Map<string, Value>();

  /** `most`: entries of one generation. */
  constructor(most: number) {
    this.#most = most;
  }

  /** The value that was first given under this key; `value` where there is none. */
  get(key: string, value: Value): Value {
    const young = this.#young.get(key);
    if (young !== undefined) return young;
    const held = this.#old.get(key) ?? value;
    if (this.#young.size >= this.#most) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(key, held);
    return held;
  }
}
