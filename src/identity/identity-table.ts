/**
 * Identities: what policy on this node can tell of a pod.
 *
 * The obvious way is to reduce a pod's labels: keep the keys that some selector names, fold values nobody names into one `other`, and
 * call what is left the identity. It works, but it still tells apart what no rule tells apart: two values that always stand in the same
 * `In` list, or a label that only selectors of another namespace ask about. Here the reduction is taken to its end. A pod is reduced to
 * the set of terms that hold for it (namespace and labels answered through every selector in force, and the numbers behind the named
 * ports in force). Pods with one set share one identity, and no two identities can be merged without changing an answer. It also makes
 * the matrix cheap: which identities a rule's peer means is exactly which identities hold its term.
 *
 * The canonical bytes of an identity are the texts of its terms, sorted; its hash orders and names it in the image. Identities are found by
 * the serial numbers of their terms, which are exact, so that equal hashes can never merge two identities.
 *
 * The holders are addresses, not pods: with an ipBlock and a named port in one egress rule the answer can differ between the
 * addresses of one pod.
 */
import type { Namespace } from '../model/namespace.js';
import type { Pod } from '../model/pod.js';
import { BlockIndex } from './block-index.js';
import { type Holder, Identity, Term } from './identity.js';
import { type TermSpec, termText } from './term.js';
import { NamespaceMatcher, TermIndex } from './term-index.js';

/** Everyone who asks for the numbers behind one named port. */
export class NamedPort {
  readonly numbers = new Map<number, Term>();
  uses = 0;
}

export interface IdentityChanges {
  readonly added: readonly Identity[];
  readonly removed: readonly Identity[];
}

const portKey = (name: string, protocol: string): string => `${protocol}/${name}`;

export class IdentityTable {
  readonly namespaces: NamespaceMatcher;
  readonly #terms = new Map<string, Term>();
  readonly #index = new TermIndex();
  readonly #blocks = new BlockIndex();
  readonly #ports = new Map<string, NamedPort>();
  readonly #identities = new Map<string, Identity>();
  /** By namespace, because a term often asks about one. */
  readonly #holders = new Map<string, Set<Holder>>();
  #unasked = new TermIndex();
  #unaskedBlocks = new BlockIndex();
  readonly #unaskedTerms = new Set<Term>();
  readonly #unaskedPorts = new Set<string>();
  readonly #unused = new Set<Term>();
  readonly #idlePorts = new Set<string>();
  #moved: Holder[] = [];
  readonly #dirty = new Set<Holder>();
  readonly #touched = new Set<Identity>();
  readonly #born = new Set<Identity>();
  #serial = 0;

  constructor(namespace: (name: string) => Namespace | undefined) {
    this.namespaces = new NamespaceMatcher(namespace);
  }

  all(): IterableIterator<Identity> {
    return this.#identities.values();
  }

  get termCount(): number {
    return this.#terms.size;
  }

  /** The term for this question, one use more. */
  acquire(spec: TermSpec): Term {
    const text = termText(spec);
    let term = this.#terms.get(text);
    if (term === undefined) {
      term = this.#make(spec, text);
      this.#terms.set(text, term);
      this.#unaskedTerms.add(term);
      if (spec.kind === 'block') {
        this.#blocks.add(term);
        this.#unaskedBlocks.add(term);
      } else {
        this.#index.add(term);
        this.#unasked.add(term);
      }
    }
    term.uses++;
    this.#unused.delete(term);
    return term;
  }

  release(term: Term): void {
    if (--term.uses === 0) this.#unused.add(term);
  }

  /** From now on the numbers behind this named port tell pods apart. */
  acquirePort(name: string, protocol: string): NamedPort {
    const key = portKey(name, protocol);
    let port = this.#ports.get(key);
    if (port === undefined) {
      port = new NamedPort();
      this.#ports.set(key, port);
      this.#unaskedPorts.add(key);
    }
    port.uses++;
    this.#idlePorts.delete(key);
    for (const term of port.numbers.values()) this.#unused.delete(term);
    return port;
  }

  releasePort(name: string, protocol: string): void {
    const key = portKey(name, protocol);
    const port = this.#ports.get(key)!;
    if (--port.uses > 0) return;
    this.#idlePorts.add(key);
    for (const term of port.numbers.values()) this.#unused.add(term);
  }

  /** The named port that a term of kind `port` gives a number to. */
  portOf(spec: TermSpec & { kind: 'port' }): NamedPort | undefined {
    return this.#ports.get(portKey(spec.name, spec.protocol));
  }

  add(holder: Holder): void {
    let group = this.#holders.get(holder.pod.namespace);
    if (group === undefined) {
      group = new Set();
      this.#holders.set(holder.pod.namespace, group);
    }
    group.add(holder);
    this.#dirty.add(holder);
  }

  delete(holder: Holder): void {
    const group = this.#holders.get(holder.pod.namespace)!;
    group.delete(holder);
    if (group.size === 0) this.#holders.delete(holder.pod.namespace);
    this.#dirty.delete(holder);
    this.#move(holder, null);
  }

  /** The labels of a namespace changed: its pods are asked again. */
  namespaceChanged(name: string): void {
    this.namespaces.forget(name);
    this.#index.forget(name);
    this.#unasked.forget(name);
    for (const holder of this.#holders.get(name) ?? []) this.#dirty.add(holder);
  }

  /** Any namespace may have changed, come or gone, also one that has no pods now. */
  namespacesChanged(): void {
    this.namespaces.forgetAll();
    this.#index.forgetAll();
    this.#unasked.forgetAll();
    for (const holders of this.#holders.values()) for (const holder of holders) this.#dirty.add(holder);
  }

  /** Gives every holder the identity that is right now; says which identities came and went. */
  settle(): IdentityChanges {
    this.#forgetUnused();
    this.#askNew();
    for (const holder of this.#dirty) this.#move(holder, this.#intern(this.#ask(holder)));
    this.#dirty.clear();

    const removed: Identity[] = [];
    for (const identity of this.#touched) {
      if (identity.holders.size > 0) continue;
      this.#identities.delete(serialKey(identity.terms));
      for (const term of identity.terms) term.holders.delete(identity);
      if (!this.#born.delete(identity)) removed.push(identity);
    }
    this.#touched.clear();
    const added = [...this.#born];
    this.#born.clear();
    this.#prunePorts();
    return { added, removed };
  }

  /** Holders whose identity changed since the last call, with repeats; some may be gone meanwhile. */
  takeMoved(): readonly Holder[] {
    const moved = this.#moved;
    this.#moved = [];
    return moved;
  }

  #make(spec: TermSpec, text: string): Term {
    return new Term(spec, text, this.#serial++);
  }

  /** Questions that nobody asks any more no longer tell pods apart. */
  #forgetUnused(): void {
    for (const key of this.#idlePorts) {
      this.#ports.delete(key);
      this.#unaskedPorts.delete(key);
    }
    this.#idlePorts.clear();
    if (this.#unused.size === 0) return;
    const affected = new Set<Identity>();
    for (const term of this.#unused) {
      this.#terms.delete(term.text);
      const selector = this.#index.delete(term);
      if (selector !== null) this.namespaces.forgetSelector(selector);
      this.#blocks.delete(term);
      if (this.#unaskedTerms.delete(term)) {
        this.#unasked.delete(term);
        this.#unaskedBlocks.delete(term);
      }
      for (const identity of term.holders) affected.add(identity);
    }
    for (const identity of affected) {
      const rest = identity.terms.filter((term) => !this.#unused.has(term));
      const target = this.#intern(rest);
      for (const holder of [...identity.holders]) this.#move(holder, target);
    }
    this.#unused.clear();
  }

  /** New questions are put to every pod that they could be about; what else holds for it stays. */
  #askNew(): void {
    if (this.#unaskedTerms.size === 0 && this.#unaskedPorts.size === 0) return;
    const everywhere = this.#unaskedBlocks.size > 0 || this.#unaskedPorts.size > 0;
    for (const [namespace, holders] of this.#holders) {
      if (!everywhere && !this.#unasked.concerns(namespace, this.namespaces)) continue;
      for (const holder of holders) {
        if (this.#dirty.has(holder)) continue;
        const found: Term[] = [];
        this.#unasked.collect(holder.pod, this.namespaces, found);
        this.#unaskedBlocks.collect(holder.address, found);
        if (this.#unaskedPorts.size > 0) this.#collectPorts(holder.pod, found, this.#unaskedPorts);
        if (found.length > 0) this.#move(holder, this.#intern([...holder.identity!.terms, ...found]));
      }
    }
    this.#unaskedTerms.clear();
    this.#unaskedPorts.clear();
    this.#unasked = new TermIndex();
    this.#unaskedBlocks = new BlockIndex();
  }

  #ask(holder: Holder): Term[] {
    const found: Term[] = [];
    this.#index.collect(holder.pod, this.namespaces, found);
    this.#blocks.collect(holder.address, found);
    if (this.#ports.size > 0) this.#collectPorts(holder.pod, found, null);
    return found;
  }

  #collectPorts(pod: Pod, out: Term[], only: ReadonlySet<string> | null): void {
    for (const { name, protocol, port: number } of pod.ports) {
      if (name === undefined) continue;
      const key = portKey(name, protocol);
      if (only !== null && !only.has(key)) continue;
      const port = this.#ports.get(key);
      if (port === undefined) continue;
      let term = port.numbers.get(number);
      if (term === undefined) {
        const spec: TermSpec = { kind: 'port', name, protocol, number };
        term = this.#make(spec, termText(spec));
        port.numbers.set(number, term);
      }
      if (!out.includes(term)) out.push(term);
    }
  }

  #intern(terms: readonly Term[]): Identity {
    const sorted = [...terms].sort((a, b) => a.serial - b.serial);
    const key = serialKey(sorted);
    let identity = this.#identities.get(key);
    if (identity === undefined) {
      identity = new Identity(sorted);
      this.#identities.set(key, identity);
      for (const term of sorted) term.holders.add(identity);
      this.#born.add(identity);
      this.#touched.add(identity);
    }
    return identity;
  }

  #move(holder: Holder, to: Identity | null): void {
    const from = holder.identity;
    if (from === to) return;
    if (from !== null) {
      from.holders.delete(holder);
      this.#touched.add(from);
    }
    holder.identity = to;
    to?.holders.add(holder);
    this.#moved.push(holder);
  }

  /** Numbers that no pod has any more. */
  #prunePorts(): void {
    for (const port of this.#ports.values()) {
      for (const [number, term] of port.numbers) if (term.holders.size === 0) port.numbers.delete(number);
    }
  }
}

function serialKey(terms: readonly Term[]): string {
  let key = '';
  for (const term of terms) key += `${term.serial},`;
  return key;
}
