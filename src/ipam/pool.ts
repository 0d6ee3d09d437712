/**
 * The addresses of one CIDR, given out least recently used first: every address that was never used comes before any that was, and
 * of those the one that was released longest ago. A new pod must not soon inherit an address that caches, connections and
 * half-open sessions elsewhere still take for its predecessor.
 *
 * A large pool (an IPv6 /64) is used up to `widest` addresses: the order of released addresses has to be remembered, and no node
 * has a million pods. Pure; addresses are integers here.
 */
const widest = 1n << 20n;

export class AddressPool {
  /** First and last address that is given out. */
  readonly first: bigint;
  readonly last: bigint;
  /** Never used from here on. */
  #cursor: bigint;
  readonly #released = new Set<bigint>();
  readonly #used = new Set<bigint>();

  /**
   * `network` is the first address of the CIDR, `bits` the address length (32, 128), `prefix` its prefix length. The network
   * address and the one after it (the node's own in the pod network) are never given out, nor is the IPv4 broadcast address.
   */
  constructor(network: bigint, bits: number, prefix: number) {
    const size = 1n << BigInt(bits - prefix);
    const reserved = size > 2n ? 2n : 0n;
    const end = bits === 32 && size > 2n ? size - 2n : size - 1n;
    this.first = network + reserved;
    this.last = network + (end < reserved + widest ? end : reserved + widest - 1n);
    this.#cursor = this.first;
  }

  /** How many addresses the pool gives out, and how many are. Addresses outside of its range do not count. */
  get total(): bigint {
    return this.last < this.first ? 0n : this.last - this.first + 1n;
  }
  get used(): number {
    return this.#used.size;
  }

  contains(address: bigint): boolean {
    return address >= this.first && address <= this.last;
  }

  /** The address that `take` without argument would give; null: exhausted. */
  next(): bigint | null {
    while (this.#cursor <= this.last && (this.#used.has(this.#cursor) || this.#released.has(this.#cursor))) {
      this.#cursor++;
    }
    if (this.#cursor <= this.last) return this.#cursor;
    for (const address of this.#released) return address;
    return null;
  }

  /** Marks an address as used; false: it is used already. One outside of the range is none of the pool's business: true. */
  take(address: bigint): boolean {
    if (!this.contains(address)) return true;
    if (this.#used.has(address)) return false;
    this.#released.delete(address);
    this.#used.add(address);
    return true;
  }

  release(address: bigint): void {
    if (this.#used.delete(address)) this.#released.add(address);
  }

  /** The order of released addresses, oldest first, and the cursor: what a snapshot has to keep. */
  snapshot(): { readonly cursor: bigint; readonly released: readonly bigint[] } {
    this.next();
    return { cursor: this.#cursor, released: [...this.#released] };
  }

  restore(cursor: bigint, released: readonly bigint[]): void {
    if (cursor >= this.first && cursor <= this.last + 1n) this.#cursor = cursor;
    for (const address of released) {
      if (this.contains(address) && !this.#used.has(address)) this.#released.add(address);
    }
  }
}
