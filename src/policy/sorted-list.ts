/**
 * A set that is laid out in canonical order: members come and go one at a time, and once per compile the new ones are sorted and merged
 * into the rest. Every member learns its `index`. Order must not change while a member is in the list.
 */
export interface Indexed {
  index: number;
}

export class SortedList<T extends Indexed> {
  readonly #compare: (a: T, b: T) => number;
  #items: T[] = [];
  #arriving: T[] = [];
  readonly #leaving = new Set<T>();

  constructor(compare: (a: T, b: T) => number) {
    this.#compare = compare;
  }

  add(item: T): void {
    if (!this.#leaving.delete(item)) this.#arriving.push(item);
  }

  delete(item: T): void {
    this.#leaving.add(item);
  }

  /** Brings the order up to date and numbers the members; false where nothing changed. */
  settle(): boolean {
    if (this.#arriving.length === 0 && this.#leaving.size === 0) return false;
    const arriving = this.#arriving.filter((item) => !this.#leaving.delete(item)).sort(this.#compare);
    if (arriving.length === 0 && this.#leaving.size === 0) {
      this.#arriving = [];
      return false;
    }
    const merged: T[] = [];
    let next = 0;
    for (const item of this.#items) {
      if (this.#leaving.has(item)) continue;
      while (next < arriving.length && this.#compare(arriving[next]!, item) < 0)
        merged.push(arriving[next++]!);
      merged.push(item);
    }
    while (next < arriving.length) merged.push(arriving[next++]!);
    for (let i = 0; i < merged.length; i++) merged[i]!.index = i;
    this.#items = merged;
    this.#arriving = [];
    this.#leaving.clear();
    return true;
  }

  /** As of the last settling. */
  get items(): readonly T[] {
    return this.#items;
  }
}
