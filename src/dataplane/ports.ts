/**
 * The ports of the switch, brought to the desired state. Each call compares what is wanted with what is there and does the difference:
 * ports that are not listed are removed, new ones attached, ports that had failed tried again. A port's identity is its id together with
 * everything that would need another device (namespace path, interface name, MAC, MTU, kind); addresses, routes and bandwidth change in place.
 *
 * One port's failure is its own: it is reported in its status and costs no other port anything.
 *
 * The host port's interface lies where everybody on the host can change it (`restoreHost`); a pod's is the pod's own to spoil.
 */
import type { AddonError, NativeSwitch } from './addon.js';
import { type NamespaceState, namespaceAt } from './namespace-path.js';
import type { Failure, PortOrigin, PortReport, PortStatus } from './protocol/answers.js';
import type { PortSpec } from './protocol/desired-state.js';

interface Entry {
  spec: PortSpec;
  /** Null while the attach is under way. */
  status: 'live' | 'failed' | null;
  error?: Failure;
  instance: number;
  /** Of the device; absent while there is none. */
  origin?: PortOrigin;
}

/** What the reconciler needs of the switch. */
export type PortDriver = Pick<
  NativeSwitch,
  'attach' | 'detach' | 'updateAddresses' | 'restore' | 'setBandwidth' | 'brokenPorts'
>;

/** What others did to the host port's interface and the switch undid. */
export interface Restored {
  readonly times: number;
  /** The last time: what was not as it should be. */
  readonly changes: readonly string[];
  /** Milliseconds, of the caller's clock. */
  readonly at: number;
}

export class Ports {
  readonly #driver: PortDriver;
  readonly #log: (message: string, fields: object) => void;
  readonly #namespaceAt: (path: string) => NamespaceState;
  readonly #now: () => number;
  readonly #entries = new Map<string, Entry>();
  /** Settles when what was begun before is done: application, checks and restoration do not overlap. */
  #turn: Promise<unknown> = Promise.resolve();
  #restored: Restored | null = null;

  /** `now`: milliseconds of a clock that only goes forward. */
  constructor(
    driver: PortDriver,
    log: (message: string, fields: object) => void,
    namespace: (path: string) => NamespaceState = namespaceAt,
    now: () => number = () => performance.now(),
  ) {
    this.#now = now;
    this.#namespaceAt = namespace;
    this.#driver = driver;
    this.#log = log;
  }

  /** Of all ports that are there, wanted or not. */
  specs(): PortSpec[] {
    return [...this.#entries.values()].map(({ spec }) => spec);
  }

  /** The port that has this address. */
  at(address: string): PortSpec | undefined {
    // Asked for flow events only; a map beside the entries would have to be kept true through every failure.
    for (const { spec } of this.#entries.values()) if (spec.addresses.includes(address)) return spec;
    return undefined;
  }

  /** Those that `desired` would remove. */
  leaving(desired: readonly PortSpec[]): PortSpec[] {
    const wanted = new Map(desired.map((spec) => [spec.id, spec]));
    return this.specs().filter((spec) => {
      const next = wanted.get(spec.id);
      return next === undefined || !sameDevice(spec, next);
    });
  }

  /** null: nobody has changed anything yet. */
  get restored(): Restored | null {
    return this.#restored;
  }

  /**
   * Removals are begun before anything is added, so that an address can pass from one port to another in one step. Resolves when every
   * port has a status.
   */
  apply(desired: readonly PortSpec[]): Promise<readonly PortStatus[]> {
    return this.#inTurn(() => this.#apply(desired));
  }

  async #apply(desired: readonly PortSpec[]): Promise<readonly PortStatus[]> {
    const removals = this.leaving(desired).map((spec) => this.#remove(spec));
    const additions = desired.map((spec) => this.#bring(spec));
    await Promise.all(removals);
    await Promise.all(additions);
    return desired.map((spec) => statusOf(spec.id, this.#entries.get(spec.id)));
  }

  /** Removes ports of a former process that were on their way out; their devices may or may not be there. */
  async clear(specs: readonly PortSpec[]): Promise<void> {
    await Promise.all(specs.map((spec) => this.#remove(spec)));
  }

  /**
   * Finds ports whose interface or namespace has gone, and takes them out; they stay listed as failed until they are removed or come back.
   * The host's is made again at once: the node's own traffic to its pods, probes first of all, waits for no agent.
   */
  check(): Promise<void> {
    return this.#inTurn(() => this.#check());
  }

  /** As check, and brings the interface of the host port to what it should be. */
  restoreHost(): Promise<void> {
    return this.#inTurn(async () => {
      await this.#check();
      const entry = this.#host();
      if (entry?.status !== 'live') return;
      try {
        const changes = await this.#driver.restore(entry.spec);
        if (changes.length > 0) this.#undone(entry.spec, changes);
      } catch (error) {
        // It has another name, or is in another namespace: removed wherever it is, and made anew.
        fail(entry, failureOf(error));
        await this.#detach(entry.spec);
        await this.#remake(entry, entry.error?.message ?? '');
      }
    });
  }

  async #check(): Promise<void> {
    await Promise.all(
      this.#driver.brokenPorts().map(async ({ id, code, message }) => {
        const entry = this.#entries.get(id);
        if (entry?.status !== 'live') return;
        fail(entry, { code, message });
        this.#log('a port is broken and was taken out', { port: id, code, reason: message });
        await this.#detach(entry.spec);
      }),
    );
    const host = this.#host();
    if (host?.status === 'failed') await this.#remake(host, 'interface gone');
  }

  #host(): Entry | undefined {
    return [...this.#entries.values()].find(({ spec }) => spec.kind === 'host');
  }

  async #remake({ spec }: Entry, why: string): Promise<void> {
    await this.#attach(spec);
    if (this.#entries.get(spec.id)?.status === 'live') this.#undone(spec, [`made anew: ${why}`]);
  }

  #undone({ id, ifname }: PortSpec, changes: readonly string[]): void {
    this.#restored = { times: (this.#restored?.times ?? 0) + 1, changes, at: this.#now() };
    this.#log("somebody changed the host port's interface; it was brought back", {
      port: id,
      interface: ifname,
      changes,
    });
  }

  #inTurn<Value>(work: () => Promise<Value>): Promise<Value> {
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => {});
    return done;
  }

  reports(): PortReport[] {
    return [...this.#entries.values()].map((entry) => ({
      ...statusOf(entry.spec.id, entry),
      spec: entry.spec,
      instance: entry.instance,
      ...(entry.origin === undefined ? {} : { origin: entry.origin }),
      namespace: entry.spec.kind === 'host' ? 'there' : this.#namespaceAt(entry.spec.netns),
    }));
  }

  async #bring(spec: PortSpec): Promise<void> {
    const entry = this.#entries.get(spec.id);
    if (entry?.status === 'live') {
      const before = entry.spec;
      entry.spec = spec;
      if (JSON.stringify(before.bandwidth) !== JSON.stringify(spec.bandwidth))
        this.#driver.setBandwidth(spec);
      if (sameAddresses(before, spec)) return;
      try {
        await this.#driver.updateAddresses(spec);
      } catch (error) {
        fail(entry, failureOf(error));
        await this.#detach(before);
      }
      return;
    }
    await this.#attach(spec);
  }

  async #attach(spec: PortSpec): Promise<void> {
    const before = this.#entries.get(spec.id)?.error?.message;
    const entry: Entry = { spec, status: null, instance: 0 };
    this.#entries.set(spec.id, entry);
    try {
      const attached = await this.#driver.attach(spec);
      entry.status = 'live';
      entry.instance = attached.instance;
      entry.origin = attached.origin;
      this.#log('port attached', { port: spec.id, origin: attached.origin, netns: spec.netns });
    } catch (error) {
      fail(entry, failureOf(error));
      // It is tried again and again; one that fails as before is not told again.
      if (entry.error?.message !== before)
        this.#log('a port could not be attached', { port: spec.id, ...entry.error });
    }
  }

  async #remove(spec: PortSpec): Promise<void> {
    this.#entries.delete(spec.id);
    await this.#detach(spec);
  }

  /** The port is out of the switch in any case; what can fail is the deletion of its interface, which is worth a word. */
  async #detach(spec: PortSpec): Promise<void> {
    try {
      await this.#driver.detach(spec);
    } catch (error) {
      this.#log('an interface could not be deleted', { port: spec.id, ...failureOf(error) });
    }
  }
}

function fail(entry: Entry, error: Failure): void {
  entry.status = 'failed';
  entry.error = error;
  entry.instance = 0;
  delete entry.origin;
}

function failureOf(error: unknown): Failure {
  const { code, message } = error as AddonError;
  return { code: code ?? 'switch-internal', message };
}

function statusOf(id: string, entry: Entry | undefined): PortStatus {
  if (entry?.status === 'live') return { id, status: 'live' };
  const error = entry?.error ?? { code: 'port-pending', message: 'the port is being attached' };
  return { id, status: 'failed', error };
}

function sameDevice(a: PortSpec, b: PortSpec): boolean {
  return (
    a.netns === b.netns && a.ifname === b.ifname && a.mac === b.mac && a.mtu === b.mtu && a.kind === b.kind
  );
}

function sameAddresses(a: PortSpec, b: PortSpec): boolean {
  return a === b || addressing(a) === addressing(b);
}

function addressing({ addresses, routes = [], sources = [] }: PortSpec): string {
  return JSON.stringify([addresses, routes, sources]);
}
