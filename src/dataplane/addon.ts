/**
 * The TypeScript face of the native addon. Whoever calls it has validated every value (protocol parsing does): C++ receives
 * finished values and throws a TypeError only for a bug of ours. What can fail for a reason outside of the program comes back as a
 * rejected promise or a thrown AddonError with a stable `code`.
 *
 * Threads: everything here is called on the JavaScript thread. Namespace work (`attach`, `detach`) runs on the addon's namespace
 * thread and settles its promise from there; packets are moved by the addon's workers, which never enter JavaScript.
 */

import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { WeftError } from '../errors/problem.js';
import { packageRoot } from './package-root.js';
import type { ConnectionReport, CountersReport, ExplainReport, PortOrigin } from './protocol/answers.js';
import type { PortSpec, SwitchSettings } from './protocol/desired-state.js';
import type { CaptureEvent, FlowEvent, TrialCounts, TrialEvent } from './protocol/events.js';
import type { CaptureFilter } from './protocol/requests.js';

/** What the addon rejects and throws: `code` is stable, `message` names call, object and errno, `errno` is 0 without a call. */
export interface AddonError extends Error {
  readonly code: string;
  readonly errno: number;
}

/** What is fixed for the life of the process; `config/default.yaml` documents each under `switch` and `limits`. */
export interface SwitchLimits {
  readonly workers: number;
  readonly maximumPorts: number;
  /** Fixed for the life of the file; another value rebuilds the connection table empty. */
  readonly maximumConnections: number;
  /** How long an idle worker polls before it sleeps; 0 sleeps at once. */
  readonly busyPollMicroseconds: number;
  /** How the kernel schedules the workers; `nice` is of the normal class. */
  readonly scheduling: 'normal' | 'prompt' | 'fifo';
  readonly nice: number;
  /** Worker i runs on cores[i % length]; empty: wherever the kernel puts it. */
  readonly cores: readonly number[];
  /** A port's turn ends after so many frames or so much time. */
  readonly drainFrames: number;
  readonly drainMicroseconds: number;
  /** Fragmented packets and early fragments, for each worker and for one port of it. */
  readonly fragmentedPackets: number;
  readonly fragmentedPacketsPerPort: number;
  readonly heldFragments: number;
  readonly heldFragmentsPerPort: number;
  readonly affinityClients: number;
  /** Flow events that wait to be taken, for each worker. */
  readonly flowRing: number;
  /** Datagrams of one flow that arrive in one turn leave as one frame, where the receiver's kernel takes that. */
  readonly coalesceUdp: boolean;
  /** Transmit queue of a port's interface, frames. */
  readonly queueLength: number;
  /** Of a port's interface; a name that the kernel knows. */
  readonly queueDiscipline: string;
  /** Folder in which kernel settings are written: /proc/sys, or where else that is. */
  readonly sysctl: string;
}

export interface SwitchOptions extends SwitchLimits {
  /** Directory on tmpfs for the connection table; one switch at a time holds its lock. */
  readonly runDirectory: string;
  /** The socket inherited from `weft-supervise`, or -1. */
  readonly supervisorDescriptor: number;
  readonly settings: SwitchSettings;
}

export interface AttachedPort {
  readonly instance: number;
  readonly origin: PortOrigin;
}

export interface LoadedImage {
  readonly status: 'loaded' | 'unchanged' | 'refused';
  readonly error?: { readonly code: string; readonly message: string };
  /** Where one was given. */
  readonly shadow?: Omit<LoadedImage, 'shadow'>;
}

/** As the protocol's CaptureEvent, with the frame as bytes. */
export type NativeCapture = Omit<CaptureEvent, 'data'> & { readonly data: Uint8Array };

export interface SwitchFigures {
  readonly generation: string;
  readonly workers: number;
  /** Number of the trial that runs; 0: none. */
  readonly trial: number;
  readonly connectionsUsed: number;
  readonly connectionsCapacity: number;
  /** What became of the table that the previous switch left. */
  readonly connectionsRecovered: number;
  readonly connectionsDiscarded: number;
  /** Why the table that was found could not be used, if there was one. */
  readonly tableRefused?: string;
  /** Why there is no supervisor, although a socket was inherited. */
  readonly supervisorRefused?: string;
  /** What the kernel refused of the workers' scheduling; they run without. */
  readonly scheduleRefused?: string;
  readonly onTmpfs: boolean;
  readonly udpSegmentation: boolean;
  readonly lostEvents: number;
  readonly imageBytes: number;
}

export interface NativeQuestion {
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
  readonly family: 4 | 6;
  readonly protocol: number;
  readonly port: number;
}

export interface NativeSwitch {
  /** Starts the workers. Ports and image may be set before or after; nothing passes without an image. */
  start(): void;
  /** Stops workers, closes descriptors; TAPs stay (they are persistent). Idempotent. */
  stop(): void;
  /** Settles in the order of the calls; the same for detach, updateAddresses and restore. */
  attach(spec: PortSpec): Promise<AttachedPort>;
  /**
   * Takes the port out of the switch before it returns, ends its connections, then deletes its TAP. Resolves also when interface or
   * namespace are gone. For a port that is not live (its attach had failed) deletes what may be left of it.
   */
  detach(spec: PortSpec): Promise<void>;
  /** Addresses and routes of a live port, for the next packet; the device stays. */
  updateAddresses(spec: PortSpec): Promise<void>;
  /**
   * Brings the interface of a live port to what its specification says: link, MTU, addresses, routes. Resolves with what was not as it should
   * be, a few words each. Rejects with link-gone where it has another name or namespace by now.
   */
  restore(spec: PortSpec): Promise<readonly string[]>;
  /** From now on calls when somebody, weft too, has touched the host port's interface. Until stop(); `touched` must not throw. */
  watchHost(touched: () => void): void;
  /** The bandwidth of a live port, for the next packet. */
  setBandwidth(spec: PortSpec): void;
  /**
   * Copies, validates whole, swaps in. A refused image leaves the old one and the trial that runs; the bytes of the old one, or null, change
   * nothing. With `shadow` a trial runs from the same moment on (another one than before, if the number is another), without it none; a
   * shadow that is refused is none, and costs the image nothing.
   */
  loadImage(
    bytes: Uint8Array | null,
    shadow?: { readonly trial: number; readonly bytes: Uint8Array },
  ): LoadedImage;
  endTrial(): void;
  /** Counts are 0 outside of a trial. */
  takeTrial(limit: number): { readonly events: readonly TrialEvent[]; readonly counts: TrialCounts };
  configure(settings: SwitchSettings): void;
  /** Live ports whose device or namespace is gone; they wait to be detached. Some system calls a port: asked once a second. */
  brokenPorts(): readonly { readonly id: string; readonly code: string; readonly message: string }[];
  figures(): SwitchFigures;
  counters(port?: string): CountersReport;
  connections(limit: number, port?: string): readonly ConnectionReport[];
  /** What would become of a new connection now, by the very structure that the workers use. Addresses are 16 bytes. */
  explain(question: NativeQuestion): ExplainReport;
  /** Takes up to `limit` events out of the ring. */
  takeFlows(limit: number): { readonly events: readonly FlowEvent[]; readonly lost: number };
  /** At most 8 captures at once; returns its number. */
  startCapture(filter: CaptureFilter): number;
  takeCapture(
    capture: number,
    limit: number,
  ): { readonly events: readonly NativeCapture[]; readonly lost: number };
  stopCapture(capture: number): void;
  /** After the first desired state: deletes devices that the supervisor kept and no port claimed, and ends their connections. */
  releaseUnclaimed(): void;
}

/** A rule as the image names it; `ImageHandle.ruleNames` lists them in the order of rule indexes. */
export interface ImageRuleName {
  readonly policy: string;
  readonly direction: 'egress' | 'ingress';
  readonly index: number;
}

/** Lists of 18 bytes an endpoint: its address, and its port in network order. */
export interface TranslatedService {
  readonly name: string;
  readonly affinitySeconds: number;
  readonly backends: Uint8Array;
  readonly kept: Uint8Array;
}

/** Queries as columns, one entry a query. Addresses are 16 bytes each, IPv4 as ::ffff:a.b.c.d. */
export interface JudgeQueries {
  readonly sources: Uint8Array;
  readonly destinations: Uint8Array;
  /** 4 or 6. */
  readonly families: Uint8Array;
  readonly protocols: Uint8Array;
  /** Destination ports, 0 for protocols without. */
  readonly ports: Uint16Array;
}

/** Verdicts as columns. A rule of 0xffffffff is none: not isolated where allowed, no rule matched where denied. */
export interface JudgeAnswers {
  /** Bit 0: egress allowed, bit 1: ingress allowed. */
  readonly allowed: Uint8Array;
  readonly egressRules: Uint32Array;
  readonly ingressRules: Uint32Array;
}

/** Endpoints as columns; a program of 0xffffffff means that the address is no local pod's. */
export interface Classified {
  readonly classes: Uint32Array;
  readonly programs: Uint32Array;
  readonly flags: Uint32Array;
}

export interface ImageHandle {
  readonly bytes: number;
  classify(addresses: Uint8Array, families: Uint8Array): Classified;
  /** Source's egress and destination's ingress, with the exemptions of the switch (own node, itself). 100,000 take milliseconds. */
  judge(queries: JudgeQueries): JudgeAnswers;
  /**
   * What becomes of a pod's new flow that a Service may mean: a drop reason, or its endpoints; undefined: no Service's. `ends` has the
   * client's address and the destination's, 16 bytes each.
   */
  translate(ends: Uint8Array, protocol: number, port: number): string | TranslatedService | undefined;
  ruleNames(): readonly ImageRuleName[];
  /** The policies that isolate a program in a direction, `namespace/name`. */
  isolatingPolicies(program: number, direction: 'egress' | 'ingress'): readonly string[];
}

export interface PeerCredentials {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

export interface RawSocketOptions {
  /** Path; empty: the process's own namespace. */
  readonly netns: string;
  readonly ifname: string;
  readonly vnetHeader: boolean;
}

/** A packet socket on one interface, for probing and capture; never for forwarding. */
export interface RawSocketHandle {
  /** Bytes sent, or -errno. With `vnetHeader` the bytes start with the 10-byte header, which the kernel takes as it is. */
  send(bytes: Uint8Array): number;
  /** Null when nothing waits. */
  receive(): Uint8Array | null;
  close(): void;
}

export interface Addon {
  Switch: new (options: SwitchOptions) => NativeSwitch;
  /** Throws an AddonError when the bytes are no valid image. */
  Image: new (
    bytes: Uint8Array,
  ) => ImageHandle;
  /** Of the process at the other end of a unix socket, by its descriptor. */
  peerCredentials(descriptor: number): PeerCredentials;
  /** Whether some process has the file open for writing; null: there is no such file, or its file system cannot tell. */
  hasWriter(path: string): boolean | null;
  /**
   * From now on the JavaScript thread runs before every ordinary one (SCHED_RR), on a budget: `run` milliseconds of processor time that took less
   * than `within` milliseconds make it an ordinary one for the rest of them. Once a process. Throws an AddonError where the kernel refuses.
   */
  scheduleControl(run: number, within: number): void;
  /** Takes the lock of a file, made where there is none: a descriptor that holds it until it is closed; null: another process has it. */
  lockFile(path: string): number | null;
  /**
   * Of a table of family inet and those of its chains: text that is another once one of them was removed, made again or flushed; empty: there
   * is no such table. A few system calls. Throws an AddonError where the kernel does not say.
   */
  nftTableMark(table: string, chains: readonly string[]): string;
  RawSocket: new (options: RawSocketOptions) => RawSocketHandle;
}

const require = createRequire(import.meta.url);
let loaded: Addon | undefined;

/**
 * Loads `weft.node`: the file that WEFT_ADDON names if it is set, else the build of this package. A failure names every path that was
 * tried, what each said, and what to do.
 */
export function loadAddon(): Addon {
  loaded ??= loadFrom(addonCandidates());
  return loaded;
}

function addonCandidates(environment: NodeJS.ProcessEnv = process.env): readonly string[] {
  if (environment.WEFT_ADDON) return [environment.WEFT_ADDON];
  return [join(packageRoot(), 'build', 'Release', 'weft.node')];
}

export function loadFrom(candidates: readonly string[]): Addon {
  const tried: string[] = [];
  for (const file of candidates) {
    if (!existsSync(file)) {
      tried.push(`  ${file}: not there`);
      continue;
    }
    try {
      return require(file) as Addon;
    } catch (error) {
      tried.push(`  ${file}: ${(error as Error).message.split('\n')[0]}`);
    }
  }
  throw new WeftError(
    'addon-load',
    `The native addon could not be loaded by Node.js ${process.version} on ${process.platform} ${process.arch}. Tried:\n` +
      `${tried.join('\n')}\n` +
      'Build it with `npm run build:native` (needs g++ ≥ 12, make and python3; `npm run setup` installs them), or set WEFT_ADDON to a built weft.node.',
  );
}
