/**
 * Addresses in the lab, allotted as an API server and its IPAM would: the first free one of a block, kept until released. Addresses
 * that a manifest brings along are taken out of the pool, so that the two never meet.
 */
import { type Address, addressOf } from '../net/address.js';
import { type Cidr, contains } from '../net/cidr.js';

/** At most this many addresses are looked at for a free one; no lab has more pods. */
const searchLimit = 1 << 20;

export class Pool {
  readonly #block: Cidr;
  readonly #skip: number;
  readonly #taken = new Set<string>();
  #next: number;

  /** `skip`: how many addresses at the start of the block are never given out (the network's own, and those reserved). */
  constructor(block: Cidr, skip: number) {
    this.#block = block;
    this.#skip = skip;
    this.#next = skip;
  }

  get family(): 4 | 6 {
    return this.#block.family;
  }

  /** An address of the block that nobody has; undefined when there is none. */
  take(): Address | undefined {
    const bits = (this.#block.family === 4 ? 32 : 128) - this.#block.length;
    const size = bits >= 20 ? searchLimit : 2 ** bits;
    // The last address of an IPv4 block is its broadcast address.
    const usable = Math.max(size - this.#skip - (this.#block.family === 4 ? 1 : 0), 0);
    for (let tried = 0; tried < usable; tried++) {
      const offset = this.#skip + ((this.#next - this.#skip + tried) % usable);
      const address = this.#at(offset);
      if (this.#taken.has(address.text)) continue;
      this.#taken.add(address.text);
      this.#next = offset + 1;
      return address;
    }
    return undefined;
  }

  /** Marks an address as somebody's; false where it is not of this block or taken already. */
  reserve(address: Address): boolean {
    if (!contains(this.#block, address) || this.#taken.has(address.text)) return false;
    this.#taken.add(address.text);
    return true;
  }

  release(address: Address): void {
    this.#taken.delete(address.text);
  }

  #at(offset: number): Address {
    const [a, b, c, d] = this.#block.base.words;
    // Blocks that are used here have at least 20 zero bits or end within the last word, so nothing carries.
    return addressOf([a, b, c, (d + offset) >>> 0]);
  }
}
