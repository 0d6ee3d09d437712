/**
 * Who claims what, counted: several may claim one thing, and one may claim it several times. Nearly everything has one claimant with one
 * claim, and that costs no more than the claimant itself.
 */
interface Claim<Claimant> {
  readonly claimant: Claimant;
  count: number;
}

/** By what tells claimants apart. A class, so that it is told from a claimant. */
class Several<Claimant> extends Map<unknown, Claim<Claimant>> {}

export class Claims<Claimant> {
  readonly #held = new Map<string, Claimant | Several<Claimant>>();
  readonly #identity: (claimant: Claimant) => unknown;

  /** `identity`: what tells claimants apart, where they are not themselves that. */
  constructor(identity: (claimant: Claimant) => unknown = (claimant) => claimant) {
    this.#identity = identity;
  }

  add(key: string, claimant: Claimant): void {
    const held = this.#held.get(key);
    if (held === undefined) {
      this.#held.set(key, claimant);
      return;
    }
    const several = held instanceof Several ? held : this.#several(held);
    const claim = several.get(this.#identity(claimant));
    if (claim === undefined) several.set(this.#identity(claimant), { claimant, count: 1 });
    else claim.count++;
    this.#held.set(key, several);
  }

  /** Takes one claim back; nothing where there is none. */
  remove(key: string, claimant: Claimant): void {
    const held = this.#held.get(key);
    if (held === undefined) return;
    const identity = this.#identity(claimant);
    if (!(held instanceof Several)) {
      if (this.#identity(held) === identity) this.#held.delete(key);
      return;
    }
    const claim = held.get(identity);
    if (claim !== undefined && --claim.count === 0) held.delete(identity);
    if (held.size > 1) return;
    const [last] = held.values();
    if (last === undefined) this.#held.delete(key);
    else if (last.count === 1) this.#held.set(key, last.claimant);
  }

  has(key: string): boolean {
    return this.#held.has(key);
  }

  keys(): Iterable<string> {
    return this.#held.keys();
  }

  /** In no particular order. */
  all(key: string): readonly Claimant[] {
    const held = this.#held.get(key);
    if (held === undefined) return [];
    return held instanceof Several ? [...held.values()].map(({ claimant }) => claimant) : [held];
  }

  /** The first in the order that `compare` tells. */
  best(key: string, compare: (a: Claimant, b: Claimant) => number): Claimant | undefined {
    const held = this.#held.get(key);
    if (!(held instanceof Several)) return held;
    let best: Claimant | undefined;
    for (const { claimant } of held.values())
      if (best === undefined || compare(claimant, best) < 0) best = claimant;
    return best;
  }

  #several(claimant: Claimant): Several<Claimant> {
    const several = new Several<Claimant>();
    several.set(this.#identity(claimant), { claimant, count: 1 });
    return several;
  }
}
