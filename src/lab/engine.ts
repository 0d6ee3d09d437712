/**
 * The lab's part of the native addon: network namespaces, responders (every pod's applications, in one thread) and the prober. The
 * addon gets finished values and gives back columns of outcomes; see native/io/lab_*.h for what each engine does.
 */
import { loadAddon } from '../dataplane/addon.js';
import type { Protocol } from '../model/protocol.js';
import { protocolNumber } from '../model/protocol.js';
import { type Address, addressBytes } from '../net/address.js';

export interface ServedPort {
  readonly protocol: Protocol;
  readonly port: number;
}

export interface ServedPod {
  /** Names the pod in `stop`. */
  readonly key: string;
  /** What its ports answer. */
  readonly name: string;
  /** Path; '' for the namespace of this process. */
  readonly netns: string;
  readonly ports: readonly ServedPort[];
  /** Other pods answer in this namespace too (hostNetwork). */
  readonly sharesNamespace: boolean;
}

/** A port that could not be served, and why (another hostNetwork pod has it, for one). */
export interface UnservedPort {
  readonly protocol: number;
  readonly port: number;
  readonly message: string;
}

export interface Probe {
  /** Where the probe starts: the path of a network namespace, '' for that of this process. */
  readonly netns: string;
  readonly protocol: Protocol;
  readonly destination: Address;
  readonly port: number;
  /** 0 or absent: any. */
  readonly sourcePort?: number;
}

/** `failed` is trouble of ours (no namespace, no descriptor), not an observation of the network. */
export type Outcome = 'answered' | 'refused' | 'unreachable' | 'timeout' | 'failed';

export interface ProbeResult {
  readonly outcome: Outcome;
  /** Answered: who said so; '' when a connection was accepted and nothing was said. */
  readonly name: string;
  readonly message: string;
  readonly icmpType: number;
  readonly icmpCode: number;
  readonly sourcePort: number;
  readonly microseconds: number;
  readonly tries: number;
}

export interface ProbePatience {
  /** Milliseconds of the first try. */
  readonly timeout: number;
  /** Milliseconds of each further try, at least; the engine waits longer where answers were slow. */
  readonly retryTimeout: number;
  readonly retries: number;
}

/** Denials cost one quarter and one half second for all probes together; what is lost on a busy machine gets a second try. */
const usualPatience: ProbePatience = { timeout: 250, retryTimeout: 500, retries: 1 };

interface NativeResponder {
  serve(pod: {
    key: string;
    name: string;
    netns: string;
    sharesNamespace: boolean;
    ports: { protocol: number; port: number }[];
  }): UnservedPort[];
  remove(key: string): void;
  close(): void;
}

interface NativeLab {
  LabResponder: new () => NativeResponder;
  labProbe(run: {
    namespaces: string[];
    netns: Uint32Array;
    families: Uint8Array;
    protocols: Uint8Array;
    destinations: Uint8Array;
    ports: Uint16Array;
    sourcePorts: Uint16Array;
    timeout: number;
    retryTimeout: number;
    retries: number;
    window: number;
  }): Promise<ProbeResult[]>;
  labCreateNamespace(path: string): void;
  labRemoveNamespace(path: string): void;
  labOpenServer(netns: string, type: 'udp' | 'tcp', port: number): number;
  labRaiseLoopback(): void;
  labProveTap(): void;
}

const native = () => loadAddon() as unknown as NativeLab;

/** Makes a network namespace, loopback up, bind-mounted at `path`. */
export const createNamespace = (path: string): void => native().labCreateNamespace(path);
export const removeNamespace = (path: string): void => native().labRemoveNamespace(path);
/** A bound descriptor inside a namespace, on :: and a port, for servers of Node's own; the caller owns it. */
export const openServer = (netns: string, type: 'udp' | 'tcp', port: number): number =>
  native().labOpenServer(netns, type, port);
/** Brings `lo` of this process's namespace up. */
export const raiseLoopback = (): void => native().labRaiseLoopback();
/** Opens a TAP and lets it go; throws with call and errno where this is not possible here. */
export const proveTap = (): void => native().labProveTap();

/** Every pod's applications. */
export class Responders {
  readonly #native = new (native().LabResponder)();

  /** Opens what is new and closes what is no longer listed; answers with the ports that could not be opened. */
  serve(pod: ServedPod): UnservedPort[] {
    const ports = pod.ports.map(({ protocol, port }) => ({ protocol: protocolNumber[protocol], port }));
    return this.#native.serve({ ...pod, ports });
  }

  stop(key: string): void {
    this.#native.remove(key);
  }

  close(): void {
    this.#native.close();
  }
}

/** Sends every probe, side by side; results in the order of the probes. */
export function sendProbes(
  probes: readonly Probe[],
  patience: ProbePatience = usualPatience,
): Promise<ProbeResult[]> {
  const namespaces: string[] = [];
  const indexes = new Map<string, number>();
  const count = probes.length;
  const run = {
    namespaces,
    netns: new Uint32Array(count),
    families: new Uint8Array(count),
    protocols: new Uint8Array(count),
    destinations: new Uint8Array(count * 16),
    ports: new Uint16Array(count),
    sourcePorts: new Uint16Array(count),
    ...patience,
    window: 2048,
  };
  probes.forEach((probe, i) => {
    let index = indexes.get(probe.netns);
    if (index === undefined) {
      index = namespaces.push(probe.netns) - 1;
      indexes.set(probe.netns, index);
    }
    run.netns[i] = index;
    run.families[i] = probe.destination.family;
    run.protocols[i] = protocolNumber[probe.protocol];
    run.destinations.set(addressBytes(probe.destination), i * 16);
    run.ports[i] = probe.port;
    run.sourcePorts[i] = probe.sourcePort ?? 0;
  });
  return native().labProbe(run);
}
