/**
 * What the command line asks a running lab, over the unix socket `control.sock` inside the lab: one JSON object a line, a request
 * carries an `id`, its answer repeats it. Progress comes before an answer as `progress` lines.
 *
 * The socket is a file of the lab's own mount namespace; from outside it is reached as /proc/PID/root/run/weft-lab/control.sock, PID
 * being the lab's first process. So a lab leaves no file behind on the host, whatever ends it.
 */
import type { Problem } from '../errors/problem.js';
import type { KubernetesObject } from '../manifests/object.js';
import type { Protocol } from '../model/protocol.js';
import type { Change } from './cluster.js';
import type { Cell } from './matrix.js';

/** Inside the lab's mount namespace, on its private tmpfs. */
export const labFolder = '/run/weft-lab';
export const controlSocket = `${labFolder}/control.sock`;
export const runDirectory = '/run/weft';
/** An answer with the matrix of 200 pods is some tens of megabytes. */
export const maximumLine = 256 * 1024 * 1024;

/** What a lab is started with; goes to the first process as one JSON argument. */
export interface LabOptions {
  readonly name: string;
  readonly podCidrs: readonly string[];
  readonly dns: boolean;
  readonly mtu: number;
  /** Overrides of the node's configuration, as in config/default.yaml. */
  readonly config: Readonly<Record<string, unknown>>;
  /** The lab ends with the process that started it. */
  readonly attached: boolean;
}

/** An object with the file it came from, for messages. */
export interface SentObject {
  readonly value: KubernetesObject;
  readonly file: string;
}

export interface ProbeSelection {
  readonly families?: readonly (4 | 6)[];
  readonly protocols?: readonly Protocol[];
  readonly services?: boolean;
  /** Ends as `namespace/name`, `namespace/*`, an address or `node/lab`; absent: all pods but those of the lab itself. */
  readonly from?: readonly string[];
  readonly to?: readonly string[];
  /** The lab's own pods too. */
  readonly all?: boolean;
}

/** A single question, for `probe FROM TO:PORT/PROTOCOL` and for the conformance runner. */
export interface Question {
  /** `namespace/name`, `node/lab`, or the address of an external host. */
  readonly from: string;
  /** The same, or `svc/namespace/name`, or an address. */
  readonly to: string;
  readonly port: number;
  readonly protocol: Protocol;
  /** Absent: every family that both ends have. */
  readonly family?: 4 | 6;
}

/** A host outside of the cluster: an address behind the node, with responders. */
export interface ExternalHost {
  readonly address: string;
  readonly ports: readonly { readonly protocol: Protocol; readonly port: number }[];
}

export type LabRequest =
  | { readonly type: 'status'; readonly id: number }
  | { readonly type: 'apply'; readonly id: number; readonly objects: readonly SentObject[] }
  | { readonly type: 'delete'; readonly id: number; readonly objects: readonly SentObject[] }
  | { readonly type: 'replace'; readonly id: number; readonly objects: readonly SentObject[] }
  | { readonly type: 'externals'; readonly id: number; readonly hosts: readonly ExternalHost[] }
  | { readonly type: 'probe'; readonly id: number; readonly selection: ProbeSelection }
  | { readonly type: 'ask'; readonly id: number; readonly questions: readonly Question[] }
  | { readonly type: 'place'; readonly id: number; readonly pod: string }
  | { readonly type: 'down'; readonly id: number };

export interface AppliedAnswer {
  readonly type: 'applied';
  readonly id: number;
  readonly changes: readonly Change[];
  readonly problems: readonly Problem[];
  readonly milliseconds: number;
}

export interface ProbedAnswer {
  readonly type: 'probed';
  readonly id: number;
  readonly cells: readonly Cell[];
  readonly milliseconds: number;
}

export interface LabPodStatus {
  readonly pod: string;
  readonly addresses: readonly string[];
  readonly ports: readonly string[];
  readonly hostNetwork: boolean;
  readonly state: 'enforced' | 'failed';
  readonly error?: string;
}

export interface LabStatusAnswer {
  readonly type: 'status';
  readonly id: number;
  readonly name: string;
  readonly uptimeSeconds: number;
  readonly pods: readonly LabPodStatus[];
  readonly services: readonly { readonly service: string; readonly addresses: readonly string[] }[];
  readonly policies: readonly string[];
  readonly externals: readonly string[];
  /** Restarts of the agent since the lab began; the switch's own are its supervisor's. */
  readonly agentRestarts: number;
}

/** Where a pod is, for `exec`: paths inside of the lab's mount namespace. */
export interface PlaceAnswer {
  readonly type: 'place';
  readonly id: number;
  readonly pod: string;
  /** '' for the node's namespace. */
  readonly netns: string;
  readonly resolvConf: string;
}

export interface ErrorAnswer {
  readonly type: 'error';
  readonly id: number;
  readonly code: string;
  readonly message: string;
}

export interface DownAnswer {
  readonly type: 'down';
  readonly id: number;
}

export interface LabAnswers {
  readonly status: LabStatusAnswer;
  readonly apply: AppliedAnswer;
  readonly delete: AppliedAnswer;
  readonly replace: AppliedAnswer;
  readonly externals: AppliedAnswer;
  readonly probe: ProbedAnswer;
  readonly ask: ProbedAnswer;
  readonly place: PlaceAnswer;
  readonly down: DownAnswer;
}

/** What the first process tells its launcher on descriptor 3 until it is ready. */
export type LaunchLine =
  | { readonly type: 'progress'; readonly text: string }
  | { readonly type: 'ready' }
  | { readonly type: 'failed'; readonly code: string; readonly message: string };
