/**
 * Which of many terms hold for a pod, without asking each. A term that names a namespace is found by it; one that demands a label
 * value is found by that; only the rest (NotIn, Exists, … across namespaces) is asked of every pod.
 */
import { type Namespace, namespaceNameLabel } from '../model/namespace.js';
import type { Pod } from '../model/pod.js';
import { matches, type Selector } from '../model/selector.js';
import type { Term } from './term.js';

/**
 * Namespace labels by selector, remembered. A namespace that no source has told us of has one label that is certain, its name;
 * a requirement on any other key is not met, in either sense, because a late event must never have opened anything.
 */
export class NamespaceMatcher {
  readonly #find: (name: string) => Namespace | undefined;
  readonly #known = new Map<string, Map<string, boolean>>();

  constructor(find: (name: string) => Namespace | undefined) {
    this.#find = find;
  }

  matches(selector: Selector, name: string): boolean {
    let answers = this.#known.get(name);
    if (answers === undefined) {
      answers = new Map();
      this.#known.set(name, answers);
    }
    let answer = answers.get(selector.text);
    if (answer === undefined) {
      answer = this.#ask(selector, name);
      answers.set(selector.text, answer);
    }
    return answer;
  }

  /** A namespace changed. */
  forget(name: string): void {
    this.#known.delete(name);
  }

  #ask(selector: Selector, name: string): boolean {
    const namespace = this.#find(name);
    if (namespace !== undefined) return matches(selector, namespace.labels);
    if (selector.requirements.some(({ key }) => key !== namespaceNameLabel)) return false;
    return matches(selector, new Map([[namespaceNameLabel, name]]));
  }
}

export class TermIndex {
  readonly #byNamespace = new Map<string, Set<Term>>();
  readonly #byLabel = new Map<string, Map<string, Set<Term>>>();
  readonly #rest = new Set<Term>();
  #anywhere = 0;

  add(term: Term): void {
    this.#places(term, (set) => set.add(term));
    if (term.spec.kind === 'pods' && term.spec.namespace === null) this.#anywhere++;
  }

  delete(term: Term): void {
    this.#places(term, (set) => set.delete(term));
    if (term.spec.kind === 'pods' && term.spec.namespace === null) this.#anywhere--;
  }

  /** The namespaces whose pods a term could hold for, or null: any. */
  namespaces(): Iterable<string> | null {
    return this.#anywhere > 0 ? null : this.#byNamespace.keys();
  }

  /** Appends the terms that hold for the pod. */
  collect(pod: Pod, namespaces: NamespaceMatcher, out: Term[]): void {
    this.#try(this.#byNamespace.get(pod.namespace), pod, namespaces, out);
    if (this.#byLabel.size > 0) {
      for (const [key, value] of pod.labels) {
        this.#try(this.#byLabel.get(key)?.get(value), pod, namespaces, out);
      }
    }
    if (this.#rest.size > 0) this.#try(this.#rest, pod, namespaces, out);
  }

  #try(terms: Set<Term> | undefined, pod: Pod, namespaces: NamespaceMatcher, out: Term[]): void {
    if (terms === undefined) return;
    for (const term of terms) {
      const spec = term.spec;
      if (spec.kind !== 'pods') continue;
      if (spec.podSelector !== null && !matches(spec.podSelector, pod.labels)) continue;
      if (spec.namespaceSelector !== null && !namespaces.matches(spec.namespaceSelector, pod.namespace))
        continue;
      out.push(term);
    }
  }

  #places(term: Term, act: (set: Set<Term>) => void): void {
    const spec = term.spec;
    if (spec.kind !== 'pods') return;
    if (spec.namespace !== null) {
      act(placeFor(this.#byNamespace, spec.namespace));
      return;
    }
    const demand = spec.podSelector?.requirements.find(({ operator }) => operator === 'In');
    if (demand === undefined) {
      act(this.#rest);
      return;
    }
    let values = this.#byLabel.get(demand.key);
    if (values === undefined) {
      values = new Map();
      this.#byLabel.set(demand.key, values);
    }
    for (const value of demand.values) act(placeFor(values, value));
  }
}

function placeFor(map: Map<string, Set<Term>>, key: string): Set<Term> {
  let set = map.get(key);
  if (set === undefined) {
    set = new Set();
    map.set(key, set);
  }
  return set;
}
