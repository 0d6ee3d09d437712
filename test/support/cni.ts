/** The CNI plugin as a runtime calls it: the real program, an environment, a configuration on standard input. */
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { repositoryRoot } from './repository.js';

export interface Outcome {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
  /** What stdout says; {} where it is empty. */
  readonly json: CniOutput;
}

export interface CniOutput {
  readonly cniVersion?: string;
  readonly code?: number;
  readonly msg?: string;
  readonly details?: string;
  readonly supportedVersions?: readonly string[];
  readonly interfaces?: readonly { readonly name: string; readonly mac: string; readonly sandbox: string }[];
  readonly ips?: readonly {
    readonly address: string;
    readonly gateway?: string;
    readonly interface?: number;
  }[];
  readonly routes?: readonly { readonly dst: string; readonly gw?: string }[];
}

export interface StartedCall {
  readonly child: ChildProcess;
  readonly done: Promise<Outcome>;
}

/** One of ours, or the path of another make's. */
export type Plugin = 'weft-cni' | 'loopback' | `/${string}`;

export const pluginPath = (name: Plugin) =>
  name.startsWith('/') ? name : join(repositoryRoot, 'build', 'bin', name);

/** `environment` is all that the program gets; a configuration that is text goes in as it is. */
export function startPlugin(
  name: Plugin,
  environment: Readonly<Record<string, string>>,
  configuration: object | string,
): StartedCall {
  const child = spawn(pluginPath(name), [], { env: { ...environment }, stdio: ['pipe', 'pipe', 'pipe'] });
  const done = new Promise<Outcome>((resolve, reject) => {
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => out.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => err.push(chunk));
    child.once('error', reject);
    child.once('close', (status, signal) => {
      const stdout = Buffer.concat(out).toString();
      let json: CniOutput = {};
      if (stdout !== '') {
        try {
          json = JSON.parse(stdout) as CniOutput;
        } catch {
          reject(new Error(`the plugin printed no JSON: ${stdout}`));
          return;
        }
      }
      resolve({ status, signal, stdout, stderr: Buffer.concat(err).toString(), json });
    });
  });
  // A plugin that needs no configuration does not read it.
  child.stdin.on('error', () => {});
  child.stdin.end(typeof configuration === 'string' ? configuration : JSON.stringify(configuration));
  return { child, done };
}

export function runPlugin(
  name: Plugin,
  environment: Readonly<Record<string, string>>,
  configuration: object | string = '',
): Promise<Outcome> {
  return startPlugin(name, environment, configuration).done;
}

/** `CNI_ARGS` of a pod, as containerd gives them. */
export function podArguments(namespace: string, name: string, uid = ''): string {
  return `IgnoreUnknown=1;K8S_POD_NAMESPACE=${namespace};K8S_POD_NAME=${name};K8S_POD_INFRA_CONTAINER_ID=c0ffee;K8S_POD_UID=${uid}`;
}
