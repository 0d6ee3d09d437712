/**
 * What the switch has acknowledged last: the revision, and what the desired state of that revision knew. Each desired state is told
 * here when it is published and forgotten when a later one is acknowledged.
 */

/** What a desired state knew. */
export interface Known {
  /** Keys (`namespace/name`) of the pods that it has programs for. */
  readonly pods: ReadonlySet<string>;
  /** How many events that change how pods are judged had been seen. */
  readonly rules: number;
}

const nothing: Known = { pods: new Set(), rules: 0 };

export class InForce {
  readonly #published = new Map<number, Known>();
  #revision = 0;
  #known = nothing;

  /** 0: this switch has acknowledged nothing yet. */
  get revision(): number {
    return this.#revision;
  }
  get pods(): ReadonlySet<string> {
    return this.#known.pods;
  }
  get rules(): number {
    return this.#known.rules;
  }

  published(revision: number, known: Known): void {
    this.#published.set(revision, known);
  }

  acknowledged(revision: number): void {
    this.#revision = revision;
    this.#known = this.#published.get(revision) ?? nothing;
    for (const earlier of this.#published.keys()) if (earlier < revision) this.#published.delete(earlier);
  }

  /** Another switch: what its predecessor acknowledged says nothing about it. */
  reset(): void {
    this.#revision = 0;
  }
}
