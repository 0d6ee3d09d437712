/**
 * Which of many terms hold for a pod, without asking each. Terms stand in groups that ask the same of the namespace, and a namespace
 * remembers which groups mean it; within a group, a term that demands a label value is found by that, and only the rest (NotIn,
 * Exists, …) is asked of every pod there.
 */
import { type Namespace, namespaceNameLabel } from '../model/namespace.js';
import type { Pod } from '../model/pod.js';
import { matches, type Selector } from '../model/selector.js';
import type { Term } from './identity.js';
import type { TermSpec } from './term.js';

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

  /** Any namespace may have changed. */
  forgetAll(): void {
    this.#known.clear();
  }

  /** Nobody asks this any more: what is remembered is bounded by what is in force. */
  forgetSelector(selector: Selector): void {
    for (const answers of this.#known.values()) answers.delete(selector.text);
  }

  #ask(selector: Selector, name: string): boolean {
    const namespace = this.#find(name);
    if (namespace !== undefined) return matches(selector, namespace.labels);
    if (selector.requirements.some(({ key }) => key !== namespaceNameLabel)) return false;
    return matches(selector, new Map([[namespaceNameLabel, name]]));
  }
}

/** Terms that ask the same of the namespace. */
class TermGroup {
  readonly namespace: string | null;
  readonly selector: Selector | null;
  /** Terms that demand a value of a label, by that label and value. */
  readonly byLabel = new Map<string, Map<string, Set<Term>>>();
  readonly rest = new Set<Term>();
  size = 0;

  constructor(namespace: string | null, selector: Selector | null) {
    this.namespace = namespace;
    this.selector = selector;
  }

  places(term: Term, act: (set: Set<Term>) => void): void {
    const { spec } = term;
    const selector = spec.kind === 'pods' ? spec.podSelector : null;
    const demand = selector?.requirements.find(({ operator }) => operator === 'In');
    if (demand === undefined) {
      act(this.rest);
      return;
    }
    let values = this.byLabel.get(demand.key);
    if (values === undefined) {
      values = new Map();
      this.byLabel.set(demand.key, values);
    }
    for (const value of demand.values) {
      let set = values.get(value);
      if (set === undefined) {
        set = new Set();
        values.set(value, set);
      }
      act(set);
      if (set.size === 0) values.delete(value);
    }
    if (values.size === 0) this.byLabel.delete(demand.key);
  }

  collect(pod: Pod, out: Term[]): void {
    for (const term of this.rest) if (selects(term, pod)) out.push(term);
    if (this.byLabel.size === 0) return;
    for (const [key, value] of pod.labels) {
      for (const term of this.byLabel.get(key)?.get(value) ?? none) if (selects(term, pod)) out.push(term);
    }
  }
}

const none: readonly Term[] = [];

function selects({ spec }: Term, pod: Pod): boolean {
  return spec.kind === 'pods' && (spec.podSelector === null || matches(spec.podSelector, pod.labels));
}

export class TermIndex {
  readonly #groups = new Map<string, TermGroup>();
  /** Which groups mean a namespace; forgotten whenever that could be another. */
  readonly #ofNamespace = new Map<string, readonly TermGroup[]>();

  add(term: Term): void {
    const { spec } = term;
    if (spec.kind !== 'pods') return;
    const key = groupKey(spec);
    let group = this.#groups.get(key);
    if (group === undefined) {
      group = new TermGroup(spec.namespace, spec.namespaceSelector);
      this.#groups.set(key, group);
      this.#forgetFor(group);
    }
    group.places(term, (set) => set.add(term));
    group.size++;
  }

  /** Gives back the namespace selector that no term asks about any more, if it was the last one. */
  delete(term: Term): Selector | null {
    const { spec } = term;
    if (spec.kind !== 'pods') return null;
    const key = groupKey(spec);
    const group = this.#groups.get(key)!;
    group.places(term, (set) => set.delete(term));
    if (--group.size > 0) return null;
    this.#groups.delete(key);
    this.#forgetFor(group);
    return group.selector;
  }

  /** The labels of a namespace changed. */
  forget(namespace: string): void {
    this.#ofNamespace.delete(namespace);
  }

  /** Those of any may have. */
  forgetAll(): void {
    this.#ofNamespace.clear();
  }

  /** Whether any term could hold for a pod of the namespace. */
  concerns(namespace: string, matcher: NamespaceMatcher): boolean {
    return this.#groupsOf(namespace, matcher).length > 0;
  }

  /** Appends the terms that hold for the pod. */
  collect(pod: Pod, matcher: NamespaceMatcher, out: Term[]): void {
    for (const group of this.#groupsOf(pod.namespace, matcher)) group.collect(pod, out);
  }

  #groupsOf(namespace: string, matcher: NamespaceMatcher): readonly TermGroup[] {
    let groups = this.#ofNamespace.get(namespace);
    if (groups === undefined) {
      groups = [...this.#groups.values()].filter((group) => {
        if (group.namespace !== null) return group.namespace === namespace;
        return group.selector === null || matcher.matches(group.selector, namespace);
      });
      this.#ofNamespace.set(namespace, groups);
    }
    return groups;
  }

  #forgetFor(group: TermGroup): void {
    if (group.namespace === null) this.#ofNamespace.clear();
    else this.#ofNamespace.delete(group.namespace);
  }
}

function groupKey({ namespace, namespaceSelector }: TermSpec & { kind: 'pods' }): string {
  // Names hold no slash and selector texts begin with a bracket, so that the kinds of key cannot meet.
  if (namespace !== null) return `/${namespace}`;
  return namespaceSelector === null ? '' : namespaceSelector.text;
}
