/**
 * Every address that is known by name: whose it is, and the peer class that follows from it. One owner each:
 *
 * - a host's address in its pod CIDR is what the host masquerades with: whatever comes from it is a stranger's, neither the node nor a
 *   pod, and where the stranger really is nobody can say, so no ipBlock has it;
 * - else a node's address is the node's, whoever else claims it: pods on the host's network have no address of their own, and one that
 *   reports its node's must not pull the node into a set of pods;
 * - else the live pod with the best claim (compareClaims); the others wait and take over when it goes;
 * - else it is a Service's.
 */
import type { Problem } from '../errors/problem.js';
import type { Holder, Identity } from '../identity/identity.js';
import { keyOf } from '../model/event.js';
import { hostAddresses, type Node } from '../model/node.js';
import { compareClaims, isFinished, type Pod } from '../model/pod.js';
import { type Address, swapBytes } from '../net/address.js';
import { type Cidr, contains } from '../net/cidr.js';
import type { Prefix, PrefixTable } from './prefix-table.js';
import type { Program } from './program.js';
import { type Indexed, SortedList } from './sorted-list.js';

/** Identity × longest prefix, as far as some pod's address has both. */
export class PodClass implements Indexed {
  readonly identity: Identity;
  readonly prefix: Prefix | null;
  /** Small, and the same as long as the class is there; given to another one later. */
  readonly slot: number;
  index = -1;
  uses = 0;

  constructor(identity: Identity, prefix: Prefix | null, slot: number) {
    this.identity = identity;
    this.prefix = prefix;
    this.slot = slot;
  }
}

export class KnownAddress implements Holder {
  readonly address: Address;
  /** The pod that has it; for a Holder never null, and only those with a pod are given to the identity table. */
  pod!: Pod;
  owner: Pod | null = null;
  node: 'own' | 'other' | null = null;
  /** A host's address in its pod CIDR: as a source, traffic that the host masquerades. `node` says whose. */
  forwarded = false;
  service = false;
  identity: Identity | null = null;
  prefix: Prefix | null = null;
  podClass: PodClass | null = null;
  /** What a local pod's packets are judged by; null for all others. */
  program: Program | null = null;
  /** Where the encoder has put it. */
  place = -1;
  /** The 16 bytes as little-endian words, signed: V8 keeps those unboxed, and they are hashed at every change of the population. */
  readonly packed0: number;
  readonly packed1: number;
  readonly packed2: number;
  readonly packed3: number;

  constructor(address: Address) {
    this.address = address;
    const { words } = address;
    this.packed0 = swapBytes(words[0]);
    this.packed1 = swapBytes(words[1]);
    this.packed2 = swapBytes(words[2]);
    this.packed3 = swapBytes(words[3]);
  }
}

/** Who claims one address. */
interface Claims {
  readonly address: Address;
  /** Replaced, never changed: nearly every address has one, and sets of one are most of the memory. */
  pods: readonly Pod[];
  /** Node name → claims from it. '' where the node is unknown. Replaced likewise. */
  nodes: ReadonlyMap<string, number>;
  /** As `nodes`: hosts that have it in their pod CIDR. */
  forwarded: ReadonlyMap<string, number>;
  services: number;
}

const noPods: readonly Pod[] = [];
const noNodes: ReadonlyMap<string, number> = new Map();

export interface OwnerChange {
  readonly entry: KnownAddress;
  readonly before: Pod | null;
}

/** The addresses that a pod has for itself. */
export function podAddresses(pod: Pod): readonly Address[] {
  return pod.hostNetwork || isFinished(pod) ? [] : pod.addresses;
}

/** The node addresses that a pod tells of. */
function nodeAddressesOf(pod: Pod): readonly Address[] {
  if (isFinished(pod)) return [];
  return pod.hostNetwork ? [...pod.addresses, ...pod.hostAddresses] : pod.hostAddresses;
}

/** A block as addresses are packed: to be compared with thousands of them, without a look at any other object than theirs. */
class PackedBlock {
  readonly #block: Cidr;
  readonly #base: readonly number[];
  readonly #mask: readonly number[];

  constructor(block: Cidr) {
    this.#block = block;
    this.#mask = [0, 1, 2, 3].map((i) => {
      const bits = Math.min(32, Math.max(0, block.depth - 32 * i));
      return swapBytes(bits === 0 ? 0 : (0xffffffff << (32 - bits)) >>> 0);
    });
    this.#base = block.base.words.map((word, i) => swapBytes(word) & this.#mask[i]!);
  }

  /** The last word first: it is where addresses of one cluster differ. */
  holds(entry: KnownAddress): boolean {
    const [base, mask] = [this.#base, this.#mask];
    return (
      (entry.packed3 & mask[3]!) === base[3] &&
      (entry.packed2 & mask[2]!) === base[2] &&
      (entry.packed1 & mask[1]!) === base[1] &&
      (entry.packed0 & mask[0]!) === base[0] &&
      // Families never meet, though ::/0 has the bits of both.
      contains(this.#block, entry.address)
    );
  }
}

export class AddressTable {
  readonly #ownNode: string | null;
  readonly #prefixes: PrefixTable;
  readonly #claims = new Map<string, Claims>();
  readonly #entries = new Map<string, KnownAddress>();
  readonly #nodeAddresses = new Map<string, Address>();
  readonly #dirty = new Set<string>();
  /** Grows when addresses come or go. */
  #population = 0;
  /** Grows when nodes have other addresses, by whoever's word. */
  #nodeChanges = 0;
  readonly #moved = new Set<KnownAddress>();
  readonly #classes = new Map<Identity, Map<Prefix | null, PodClass>>();
  readonly #idleClasses = new Set<PodClass>();
  readonly #classList = new SortedList<PodClass>(
    (a, b) => a.identity.index - b.identity.index || (a.prefix?.index ?? -1) - (b.prefix?.index ?? -1),
  );
  readonly #problems = new Map<string, Problem>();
  readonly #freeSlots: number[] = [];
  #slots = 0;
  readonly #changed = new Set<KnownAddress>();

  /** `ownNode`: the node that the image is for, or null where it is for none in particular. */
  constructor(ownNode: string | null, prefixes: PrefixTable) {
    this.#ownNode = ownNode;
    this.#prefixes = prefixes;
  }

  get entries(): ReadonlyMap<string, KnownAddress> {
    return this.#entries;
  }

  get population(): number {
    return this.#population;
  }

  get nodeChanges(): number {
    return this.#nodeChanges;
  }

  get classes(): readonly PodClass[] {
    return this.#classList.items;
  }

  get problems(): IterableIterator<Problem> {
    return this.#problems.values();
  }

  addPod(pod: Pod): void {
    for (const address of podAddresses(pod)) {
      const claims = this.#claim(address);
      if (!claims.pods.includes(pod))
        claims.pods = claims.pods.length === 0 ? [pod] : claims.pods.concat(pod);
    }
    for (const address of nodeAddressesOf(pod)) this.#countNode(address, pod.nodeName, 1);
  }

  deletePod(pod: Pod): void {
    for (const address of podAddresses(pod)) {
      const claims = this.#claim(address);
      claims.pods = claims.pods.filter((other) => other !== pod);
    }
    for (const address of nodeAddressesOf(pod)) this.#countNode(address, pod.nodeName, -1);
  }

  addNode(node: Node): void {
    for (const address of node.addresses) this.#countNode(address, node.name, 1);
    for (const address of hostAddresses(node)) this.#countNode(address, node.name, 1, 'forwarded');
  }

  deleteNode(node: Node): void {
    for (const address of node.addresses) this.#countNode(address, node.name, -1);
    for (const address of hostAddresses(node)) this.#countNode(address, node.name, -1, 'forwarded');
  }

  addService(address: Address): void {
    this.#claim(address).services++;
  }

  deleteService(address: Address): void {
    this.#claim(address).services--;
  }

  /** The node that has the address, or undefined. Where several claim it, the own one, else the first by name. */
  nodeOf(address: Address): string | undefined {
    const claims = this.#claims.get(address.text);
    if (claims === undefined) return undefined;
    const names = [...claims.nodes.keys(), ...claims.forwarded.keys()];
    return this.#ownNode !== null && names.includes(this.#ownNode) ? this.#ownNode : names.sort()[0];
  }

  /** Addresses of nodes, this host's in its pod CIDR included, in no particular order. */
  nodeAddresses(): Iterable<Address> {
    return this.#nodeAddresses.values();
  }

  /** Decides who has each address that something happened to. */
  settleOwners(): { readonly changes: readonly OwnerChange[]; readonly changed: boolean } {
    const changes: OwnerChange[] = [];
    const changed = this.#dirty.size > 0;
    for (const text of this.#dirty) {
      const claims = this.#claims.get(text)!;
      let entry = this.#entries.get(text);
      const own = this.#ownNode !== null && claims.nodes.has(this.#ownNode);
      const ownHost = this.#ownNode !== null && claims.forwarded.has(this.#ownNode);
      const isNode = claims.nodes.size > 0 || claims.forwarded.size > 0;
      if (claims.nodes.size > 0 || ownHost) this.#nodeAddresses.set(text, claims.address);
      else this.#nodeAddresses.delete(text);
      if (claims.pods.length === 0 && !isNode && claims.services === 0) {
        this.#claims.delete(text);
        this.#problems.delete(text);
        if (entry === undefined) continue;
        this.#entries.delete(text);
        this.#population++;
        this.#setClass(entry, null);
        this.#moved.delete(entry);
        if (entry.owner !== null) changes.push(this.#give(entry, null));
        continue;
      }
      if (entry === undefined) {
        entry = new KnownAddress(claims.address);
        this.#entries.set(text, entry);
        this.#population++;
        this.#moved.add(entry);
        entry.prefix = this.#prefixes.find(entry.address);
      }
      this.#changed.add(entry);
      entry.service = claims.services > 0;
      entry.node = !isNode ? null : own || ownHost ? 'own' : 'other';
      entry.forwarded = claims.forwarded.size > 0;
      const owner = isNode ? null : bestClaim(claims.pods);
      this.#judgeConflict(text, claims, owner);
      if (owner !== entry.owner) changes.push(this.#give(entry, owner));
    }
    this.#dirty.clear();
    return { changes, changed };
  }

  /** More than all slots of classes. */
  get slots(): number {
    return this.#slots;
  }

  /** Its class, its program or what it is known as is another now. */
  note(entry: KnownAddress): void {
    this.#changed.add(entry);
  }

  /** What was noted since the last call; some may be gone meanwhile. */
  takeChanged(): readonly KnownAddress[] {
    const changed = [...this.#changed];
    this.#changed.clear();
    return changed;
  }

  /** The identity of an address may be another now. */
  touch(entry: KnownAddress): void {
    this.#moved.add(entry);
  }

  /** These prefixes came or went. */
  prefixesChanged(changed: readonly Cidr[]): void {
    // A few are compared with every address; of many, the longest prefix is sooner found than a match among them.
    const few = changed.length <= 8 ? changed.map((block) => new PackedBlock(block)) : null;
    for (const entry of this.#entries.values()) {
      if (few !== null && !few.some((block) => block.holds(entry))) continue;
      const prefix = this.#prefixes.find(entry.address);
      if (prefix === entry.prefix) continue;
      entry.prefix = prefix;
      this.#moved.add(entry);
    }
  }

  /** Once identities and prefixes are numbered. True where the list of classes changed. */
  settleClasses(): boolean {
    for (const entry of this.#moved) {
      this.#setClass(entry, entry.identity === null ? null : this.#class(entry.identity, entry.prefix));
    }
    this.#moved.clear();
    for (const idle of this.#idleClasses) {
      if (idle.uses > 0) continue;
      const of = this.#classes.get(idle.identity)!;
      of.delete(idle.prefix);
      if (of.size === 0) this.#classes.delete(idle.identity);
      this.#classList.delete(idle);
      this.#freeSlots.push(idle.slot);
    }
    this.#idleClasses.clear();
    return this.#classList.settle();
  }

  #claim(address: Address): Claims {
    let claims = this.#claims.get(address.text);
    if (claims === undefined) {
      claims = { address, pods: noPods, nodes: noNodes, forwarded: noNodes, services: 0 };
      this.#claims.set(address.text, claims);
    }
    this.#dirty.add(address.text);
    return claims;
  }

  #countNode(address: Address, node: string, by: number, as: 'nodes' | 'forwarded' = 'nodes'): void {
    const claims = this.#claim(address);
    const nodes = new Map(claims[as]);
    const before = nodes.get(node) ?? 0;
    const next = before + by;
    if (next === 0) nodes.delete(node);
    else nodes.set(node, next);
    claims[as] = nodes.size === 0 ? noNodes : nodes;
    // Every pod tells of its node; only the first one to do so, and the last, says something new.
    if (before === 0 || next === 0) this.#nodeChanges++;
  }

  #give(entry: KnownAddress, owner: Pod | null): OwnerChange {
    const before = entry.owner;
    entry.owner = owner;
    this.#moved.add(entry);
    return { entry, before };
  }

  #class(identity: Identity, prefix: Prefix | null): PodClass {
    let of = this.#classes.get(identity);
    if (of === undefined) {
      of = new Map();
      this.#classes.set(identity, of);
    }
    let podClass = of.get(prefix);
    if (podClass === undefined) {
      podClass = new PodClass(identity, prefix, this.#freeSlots.pop() ?? this.#slots++);
      of.set(prefix, podClass);
      this.#classList.add(podClass);
    }
    return podClass;
  }

  #setClass(entry: KnownAddress, podClass: PodClass | null): void {
    if (entry.podClass === podClass) return;
    if (entry.podClass !== null && --entry.podClass.uses === 0) this.#idleClasses.add(entry.podClass);
    entry.podClass = podClass;
    this.#changed.add(entry);
    if (podClass !== null) podClass.uses++;
  }

  #judgeConflict(text: string, claims: Claims, owner: Pod | null): void {
    if (claims.pods.length > (owner === null ? 0 : 1)) {
      const names = [...claims.pods].map((pod) => keyOf(pod.namespace, pod.name)).sort();
      const has =
        owner === null
          ? `the node ${this.nodeOf(claims.address) ?? ''}`.trim()
          : keyOf(owner.namespace, owner.name);
      this.#problems.set(text, {
        code: 'address-conflict',
        severity: 'warning',
        message: `The address ${text} is claimed by the pods ${names.join(', ')}; ${has} has it, and policy treats it as such.`,
        fix: 'Delete the pods that no longer run, or give each its own address.',
      });
    } else this.#problems.delete(text);
  }
}

function bestClaim(pods: readonly Pod[]): Pod | null {
  let best: Pod | null = null;
  for (const pod of pods) if (best === null || compareClaims(pod, best) < 0) best = pod;
  return best;
}
