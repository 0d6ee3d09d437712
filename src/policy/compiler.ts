/**
 * World → tables. One graph of plain calls:
 *
 *   touched objects → who has which address → which policies select local pods → programs and rows → the questions their rules ask (terms)
 *   → identities → cells → canonical order and numbers
 *
 * The tables are a function of the World's contents. Everything that is kept between updates is a cache of that function: things are found by
 * exact keys, counted by use, dropped when unused, and put in an order that depends on their contents only. So an update after one
 * event, and a compile of the final World from nothing, give the same bytes; a test holds that for random histories.
 *
 * Only policies that select a pod of this node take part, with the terms, blocks and named ports of their rules. Cost of an update: one pass over
 * known addresses and identities (numbers, no text), plus work in proportion to what changed. If new terms came into force, every pod they
 * could be about is asked those terms, and only those.
 */
import type { Problem } from '../errors/problem.js';
import type { Term } from '../identity/identity.js';
import { compareIdentities, type Identity } from '../identity/identity.js';
import { IdentityTable, type NamedPort } from '../identity/identity-table.js';
import { type Kind, keyOf, kinds } from '../model/event.js';
import type { Node } from '../model/node.js';
import type { Pod } from '../model/pod.js';
import { matches } from '../model/selector.js';
import type { World } from '../model/world.js';
import { AddressTable, type KnownAddress, podAddresses } from './address-table.js';
import type { NodeAddress } from './frontends.js';
import { PortSetTable } from './port-set.js';
import { PrefixTable } from './prefix-table.js';
import { type Program, ProgramTable } from './program.js';
import type { Row } from './row.js';
import { PolicyEntry } from './rule.js';
import { ServiceTable } from './service-table.js';
import { defaultSettings, type PolicySettings } from './settings.js';
import { SortedList } from './sorted-list.js';
import type { Group, PolicyTables } from './tables.js';

export interface PolicyOptions {
  /** The node whose pods are local. Absent: no pod is, unless allLocal. */
  readonly node?: string;
  /** Every pod is local: for tools that answer for the whole cluster. No address is then the own node's. */
  readonly allLocal?: boolean;
  readonly settings?: Partial<PolicySettings>;
  /** Most service records; Services beyond are left out with a problem. Absent: no limit. */
  readonly mostServices?: number;
}

interface LocalPod {
  readonly pod: Pod;
  readonly program: Program;
  readonly policies: readonly PolicyEntry[];
}

function setIn<V>(
  map: Map<string, Map<string, V>>,
  outer: string,
  inner: string,
  value: V | undefined,
): void {
  let group = map.get(outer);
  if (value !== undefined) {
    if (group === undefined) {
      group = new Map();
      map.set(outer, group);
    }
    group.set(inner, value);
  } else if (group?.delete(inner) && group.size === 0) map.delete(outer);
}

export class PolicyCompiler {
  readonly #world: World;
  readonly #options: PolicyOptions;
  readonly #settings: PolicySettings;
  #revision: number | null = null;
  #serial = 0;

  readonly #nodes = new Map<string, Node>();
  readonly #pods = new Map<string, Pod>();
  readonly #podsByNamespace = new Map<string, Map<string, Pod>>();
  readonly #policies = new Map<string, PolicyEntry>();
  readonly #policiesByNamespace = new Map<string, Map<string, PolicyEntry>>();
  readonly #locals = new Map<string, LocalPod>();
  readonly #localsByNamespace = new Map<string, Map<string, LocalPod>>();
  /** Pods to be judged anew, by the policies of these keys; null: by all, since the pod is another. */
  readonly #dirtyLocals = new Map<string, Set<string> | null>();

  readonly #prefixes = new PrefixTable();
  readonly #portSets = new PortSetTable();
  readonly #identities: IdentityTable;
  readonly #identityList = new SortedList<Identity>(compareIdentities);
  readonly #rowsOfTerm = new Map<Term, Set<Row>>();
  readonly #rowsOfPort = new Map<NamedPort, Set<Row>>();
  readonly #programs: ProgramTable;
  readonly #addresses: AddressTable;
  readonly #services: ServiceTable;
  /** Zones may be others; and as of which changes of nodes' addresses services are laid out. */
  #nodesChanged = false;
  #nodeChanges = 0;
  #serviceLayout: PolicyTables['services'] | null = null;
  readonly #versions: Record<Group, number> = {
    policies: 0,
    portSets: 0,
    rows: 0,
    programs: 0,
    identityCells: 0,
    blockCells: 0,
    identities: 0,
    prefixes: 0,
    classes: 0,
    population: 0,
    addresses: 0,
    frontends: 0,
    services: 0,
  };

  constructor(world: World, options: PolicyOptions = {}) {
    this.#world = world;
    this.#options = options;
    this.#settings = { ...defaultSettings, ...options.settings };
    this.#identities = new IdentityTable((name) => world.get('namespace', name));
    this.#programs = new ProgramTable({
      identities: this.#identities,
      portSets: this.#portSets,
      prefixes: this.#prefixes,
      rowsOfTerm: this.#rowsOfTerm,
      rowsOfPort: this.#rowsOfPort,
    });
    this.#addresses = new AddressTable(options.node ?? null, this.#prefixes);
    this.#services = new ServiceTable(
      world,
      { node: options.node, most: options.mostServices },
      (namespace) => this.#podsByNamespace.get(namespace)?.values() ?? [],
    );
  }

  /** The tables of the World as it is now. */
  update(): PolicyTables {
    this.#takeIn();
    return this.#settle();
  }

  get problems(): Problem[] {
    return [...this.#addresses.problems, ...this.#services.problems].sort((a, b) =>
      a.message < b.message ? -1 : a.message > b.message ? 1 : 0,
    );
  }

  get podCount(): number {
    return this.#pods.size;
  }

  get localCount(): number {
    return this.#locals.size;
  }

  get policyCount(): number {
    return this.#policies.size;
  }

  get termCount(): number {
    return this.#identities.termCount;
  }

  get serviceCount(): number {
    return this.#services.count;
  }

  get addresses(): AddressTable {
    return this.#addresses;
  }

  /** Policies that select a local pod, in the order of the image; [] for any other pod. */
  policiesOf(podKey: string): readonly PolicyEntry[] {
    return this.#locals.get(podKey)?.policies ?? [];
  }

  // --- taking in what changed ---

  #takeIn(): void {
    const touched = this.#revision === null ? undefined : this.#world.touchedSince(this.#revision);
    this.#revision = this.#world.revision;
    const keys: Record<Kind, Set<string>> = {
      namespace: new Set(),
      node: new Set(),
      pod: new Set(),
      policy: new Set(),
      service: new Set(),
      slice: new Set(),
    };
    if (touched === undefined) {
      this.#identities.namespacesChanged();
      for (const kind of kinds) for (const key of this.#world.all(kind).keys()) keys[kind].add(key);
      for (const key of this.#pods.keys()) keys.pod.add(key);
      for (const key of this.#policies.keys()) keys.policy.add(key);
      for (const key of this.#nodes.keys()) keys.node.add(key);
      for (const key of this.#services.knownServices()) keys.service.add(key);
      for (const key of this.#services.knownSlices()) keys.slice.add(key);
    } else for (const { kind, key } of touched) keys[kind].add(key);

    for (const key of keys.namespace) this.#identities.namespaceChanged(key);
    for (const key of keys.node) this.#takeNode(key);
    for (const key of keys.policy) this.#takePolicy(key);
    for (const key of keys.pod) this.#takePod(key);
    for (const key of keys.slice) this.#services.sliceTouched(key);
    for (const key of keys.service) {
      const { before, after } = this.#services.serviceTouched(key);
      for (const address of after) this.#addresses.addService(address);
      for (const address of before) this.#addresses.deleteService(address);
    }
  }

  #takeNode(key: string): void {
    const before = this.#nodes.get(key);
    const after = this.#world.get('node', key);
    if (before === after) return;
    if (after !== undefined) {
      this.#addresses.addNode(after);
      this.#nodes.set(key, after);
    } else this.#nodes.delete(key);
    if (before !== undefined) this.#addresses.deleteNode(before);
    this.#nodesChanged = true;
  }

  #takePolicy(key: string): void {
    const before = this.#policies.get(key);
    const after = this.#world.get('policy', key);
    if (before?.policy === after) return;
    const entry = after === undefined ? undefined : new PolicyEntry(after, () => this.#serial++);
    if (entry === undefined) this.#policies.delete(key);
    else this.#policies.set(key, entry);
    const { namespace } = (after ?? before?.policy)!;
    setIn(this.#policiesByNamespace, namespace, key, entry);
    for (const [local, { pod, policies }] of this.#localsByNamespace.get(namespace) ?? []) {
      const selected = before !== undefined && policies.includes(before);
      if (!selected && (after === undefined || !matches(after.podSelector, pod.labels))) continue;
      const changed = this.#dirtyLocals.get(local);
      if (changed === undefined) this.#dirtyLocals.set(local, new Set([key]));
      else changed?.add(key);
    }
  }

  #takePod(key: string): void {
    const before = this.#pods.get(key);
    const after = this.#world.get('pod', key);
    if (before === after) return;
    if (after !== undefined) {
      this.#addresses.addPod(after);
      this.#pods.set(key, after);
    } else this.#pods.delete(key);
    if (before !== undefined) this.#addresses.deletePod(before);
    setIn(this.#podsByNamespace, (after ?? before)!.namespace, key, after);
    this.#services.podTouched(before, after);
    this.#dirtyLocals.set(key, null);
  }

  // --- settling, stage by stage ---

  #settle(): PolicyTables {
    const owners = this.#addresses.settleOwners();
    for (const { entry, before } of owners.changes) this.#ownerChanged(entry, before);
    const programsTouched = this.#dirtyLocals.size > 0;
    for (const [key, changed] of this.#dirtyLocals) this.#judgeLocal(key, changed);
    this.#dirtyLocals.clear();

    const policies = this.#programs.settlePolicies();
    const identityChanges = this.#identities.settle();
    const changedPrefixes = this.#prefixes.settle();
    const prefixes = changedPrefixes.length > 0;
    if (prefixes) this.#addresses.prefixesChanged(changedPrefixes);

    for (const identity of identityChanges.removed) {
      for (const row of this.#rowsAsking(identity)) row.removeIdentity(identity);
      this.#identityList.delete(identity);
    }
    for (const identity of identityChanges.added) {
      this.#identityList.add(identity);
    }
    const built = this.#programs.buildRows();
    for (const identity of identityChanges.added) {
      for (const row of this.#rowsAsking(identity)) if (!built.has(row)) row.addIdentity(identity);
    }

    const identities = this.#identityList.settle();
    const portSets = this.#portSets.settle();
    const rows = this.#programs.settleRows();
    const programs = this.#programs.settlePrograms();
    const moved = this.#identities.takeMoved();
    for (const holder of moved) this.#addresses.touch(holder as KnownAddress);
    const classes = this.#addresses.settleClasses();
    const servicesBefore = this.#serviceLayout;
    const nodesChanged = this.#nodesChanged || this.#nodeChanges !== this.#addresses.nodeChanges;
    this.#nodeChanges = this.#addresses.nodeChanges;
    const services = this.#services.settle(() => this.#nodeAddresses(), nodesChanged);
    this.#serviceLayout = services;
    this.#nodesChanged = false;

    const setsChanged = portSets.changed || policies;
    const bump = (group: Group, changed: boolean) => {
      if (changed) this.#versions[group]++;
    };
    bump('policies', policies);
    bump('portSets', setsChanged);
    bump('rows', rows || setsChanged);
    bump('programs', programs || rows);
    bump('identityCells', rows || identities || setsChanged);
    bump('blockCells', rows || prefixes || setsChanged);
    bump('identities', identities);
    bump('prefixes', prefixes);
    bump('classes', classes || identities || prefixes);
    bump(
      'addresses',
      owners.changed || moved.length > 0 || classes || prefixes || programs || rows || programsTouched,
    );
    this.#versions.population = this.#addresses.population;
    bump('services', services !== servicesBefore);
    bump('frontends', services.moves !== servicesBefore?.moves);

    return {
      settings: this.#settings,
      policies: this.#programs.policies,
      rules: this.#programs.rules,
      portSets: portSets.items,
      rows: this.#programs.rows,
      programs: this.#programs.programs,
      identities: this.#identityList.items,
      prefixes: this.#prefixes.items,
      tries: { 4: this.#prefixes.trie(4), 6: this.#prefixes.trie(6) },
      classes: this.#addresses.classes,
      addresses: this.#addresses.entries,
      classSlots: this.#addresses.slots,
      takeChangedAddresses: () => this.#addresses.takeChanged(),
      services,
      versions: { ...this.#versions },
    };
  }

  *#nodeAddresses(): Iterable<NodeAddress> {
    for (const address of this.#addresses.nodeAddresses())
      yield { address, node: this.#addresses.nodeOf(address) ?? '' };
  }

  #ownerChanged(entry: KnownAddress, before: Pod | null): void {
    if (before !== null) {
      this.#identities.delete(entry);
      entry.program = null;
      this.#addresses.note(entry);
      this.#dirtyLocals.set(keyOf(before.namespace, before.name), null);
    }
    if (entry.owner !== null) {
      entry.pod = entry.owner;
      this.#identities.add(entry);
      this.#dirtyLocals.set(keyOf(entry.owner.namespace, entry.owner.name), null);
    }
  }

  /** Whether the pod is local now, and by what it is judged. `changed` as of #dirtyLocals. */
  #judgeLocal(key: string, changed: ReadonlySet<string> | null): void {
    const before = this.#locals.get(key);
    const pod = this.#pods.get(key);
    const owned = pod === undefined ? [] : this.#localAddresses(pod);
    if (pod === undefined || owned.length === 0) {
      if (before !== undefined) {
        this.#locals.delete(key);
        setIn(this.#localsByNamespace, before.pod.namespace, key, undefined);
        this.#programs.release(before.program);
      }
      return;
    }
    const policies =
      changed !== null && before !== undefined ? this.#reselect(before, changed) : this.#select(pod);
    const program = this.#programs.acquire(policies, pod);
    const local: LocalPod = { pod, program, policies };
    this.#locals.set(key, local);
    setIn(this.#localsByNamespace, pod.namespace, key, local);
    for (const entry of owned) {
      if (entry.program === program) continue;
      entry.program = program;
      this.#addresses.note(entry);
    }
    if (before !== undefined) this.#programs.release(before.program);
  }

  #select(pod: Pod): PolicyEntry[] {
    const policies: PolicyEntry[] = [];
    for (const entry of this.#policiesByNamespace.get(pod.namespace)?.values() ?? []) {
      if (matches(entry.policy.podSelector, pod.labels)) policies.push(entry);
    }
    return policies;
  }

  /** As #select, where only the policies of these keys are others. */
  #reselect({ pod, policies }: LocalPod, changed: ReadonlySet<string>): PolicyEntry[] {
    const kept = policies.filter(({ policy }) => !changed.has(keyOf(policy.namespace, policy.name)));
    for (const key of changed) {
      const entry = this.#policies.get(key);
      if (entry !== undefined && matches(entry.policy.podSelector, pod.labels)) kept.push(entry);
    }
    return kept;
  }

  #localAddresses(pod: Pod): KnownAddress[] {
    const { node, allLocal } = this.#options;
    if (allLocal !== true && (node === undefined || pod.nodeName !== node)) return [];
    const owned: KnownAddress[] = [];
    for (const address of podAddresses(pod)) {
      const entry = this.#addresses.entries.get(address.text);
      if (entry?.owner === pod) owned.push(entry);
    }
    return owned;
  }

  /** Rows that may have something to say about the identity. */
  #rowsAsking(identity: Identity): Set<Row> {
    const rows = new Set<Row>();
    for (const term of identity.terms) {
      let asking = this.#rowsOfTerm.get(term);
      if (term.spec.kind === 'port') {
        const port = this.#identities.portOf(term.spec);
        asking = port === undefined ? undefined : this.#rowsOfPort.get(port);
      }
      for (const row of asking ?? []) rows.add(row);
    }
    return rows;
  }
}
