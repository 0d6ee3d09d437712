/**
 * The lab's first process: PID 1 of its PID namespace. When it ends, for whatever reason, the kernel ends everything in the lab and with
 * the last process the mounts, the network namespaces and the TAPs in them are gone; there is no clean-up code that could be skipped.
 *
 * The launcher (launch.ts) has made the namespaces and mounted /proc. Here: a private tmpfs on /run, loopback, the node's address,
 * the node's processes, the lab itself, and the control socket. Descriptor 3 leads to the launcher: progress goes there, and while the
 * lab is not ready (or for good, if it is attached) its end is ours.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer, Socket } from 'node:net';
import { join } from 'node:path';
import { agentSocketName } from '../agent/protocol.js';
import { Lines } from '../dataplane/lines.js';
import { WeftError } from '../errors/problem.js';
import { objectOf } from '../manifests/plain.js';
import { parseCidr } from '../net/cidr.js';
import { Cluster, nodeName, usualCluster } from './cluster.js';
import { proveTap, raiseLoopback } from './engine.js';
import { ip } from './externals.js';
import { Lab } from './lab.js';
import { NodeProcesses } from './node-processes.js';
import {
  controlSocket,
  type LabAnswers,
  type LabOptions,
  type LabRequest,
  type LaunchLine,
  labFolder,
  maximumLine,
  runDirectory,
} from './protocol.js';

export async function runFirstProcess(options: LabOptions): Promise<void> {
  if (process.pid !== 1)
    throw new WeftError(
      'lab-not-first',
      'This command is started by `weft lab up`, inside of namespaces of its own.',
    );
  process.stdout.on('error', () => {});
  process.stderr.on('error', () => {}); // the launcher may be gone
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => process.exit(0));
  const launcher = new Socket({ fd: 3, readable: true, writable: true });
  const say = (line: LaunchLine) => launcher.write(`${JSON.stringify(line)}\n`);
  const abandoned = () => process.exit(1);
  launcher.on('error', abandoned).on('close', abandoned).resume();
  const started = performance.now();
  try {
    prepare();
    const cluster = new Cluster({ ...usualCluster, ...cidrs(options), dns: options.dns });
    const config = configuration(options, cluster);
    const node = new NodeProcesses({
      config,
      runDirectory,
      folder: labFolder,
    });
    const places = {
      netns: '/run/netns',
      manifests: `${runDirectory}/manifests`,
      resolv: `${labFolder}/resolv`,
      agentSocket: join(runDirectory, agentSocketName),
    };
    const judged = objectOf(config.policy).ownNodeEgress === 'judge';
    const lab = new Lab(cluster, places, { ownNodeEgress: judged ? 'judge' : 'allow' });
    say({ type: 'progress', text: 'starting switch and agent' });
    node.start();
    await Promise.race([lab.start(), node.failure]).catch((error: Error) => {
      throw withLastWords(error, node);
    });
    node.failure.catch((error: Error) => {
      // A lab whose node is beyond help proves nothing any more.
      process.stderr.write(`weft lab: ${error.message}\n`);
      process.exit(1);
    });
    await listen(options, lab, node, started);
  } catch (error) {
    const known = error instanceof WeftError;
    const { code, message } = known ? error : { code: 'internal', message: String((error as Error).stack) };
    launcher.off('close', abandoned);
    launcher.end(`${JSON.stringify({ type: 'failed', code, message } satisfies LaunchLine)}\n`, () =>
      process.exit(1),
    );
    return;
  }
  if (!options.attached)
    launcher
      .off('error', abandoned)
      .off('close', abandoned)
      .on('error', () => {});
  say({ type: 'ready' });
}

/** What a node has before weft comes: /run, loopback, an address of its own, forwarding. */
function prepare(): void {
  proveTap();
  run('mount', '-t', 'tmpfs', '-o', 'mode=755,size=512m', 'tmpfs', '/run');
  for (const folder of ['/run/netns', runDirectory, labFolder])
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  raiseLoopback();
  for (const { text, family } of usualCluster.nodeAddresses) {
    ip('addr', 'add', `${text}/${family === 4 ? 32 : 128}`, 'dev', 'lo', ...(family === 6 ? ['nodad'] : []));
  }
  setKernel('net/ipv4/ip_forward', '1');
  setKernel('net/ipv6/conf/all/forwarding', '1');
  // Packets of external hosts come in over veths and leave over the host port: no path is the "reverse" of another.
  for (const name of ['all', 'default']) setKernel(`net/ipv4/conf/${name}/rp_filter`, '0');
}

function run(program: string, ...args: readonly string[]): void {
  const done = spawnSync(program, args, { encoding: 'utf8' });
  if (done.status === 0) return;
  const said = done.error?.message ?? done.stderr.trim();
  throw new WeftError('lab-prepare', `\`${program} ${args.join(' ')}\` failed: ${said}`);
}

/** Kernels without IPv6 have no such file, and no such pods. */
function setKernel(name: string, value: string): void {
  try {
    writeFileSync(`/proc/sys/${name}`, value);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}

function cidrs(options: LabOptions) {
  if (options.podCidrs.length === 0) return {};
  return {
    podCidrs: options.podCidrs.map((text) => {
      const parsed = parseCidr(text);
      if (parsed === undefined)
        throw new WeftError('lab-cidr', `--pod-cidr ${text} is no CIDR such as 10.42.0.0/16.`);
      return parsed.cidr;
    }),
  };
}

function configuration(options: LabOptions, cluster: Cluster): Record<string, unknown> {
  const base = {
    node: { name: nodeName, addresses: cluster.options.nodeAddresses.map(({ text }) => text) },
    network: { podCIDRs: cluster.options.podCidrs.map(({ text }) => text), mtu: options.mtu },
    // A measurement asks for an explanation of every denial.
    // Nobody's network hangs on a lab: where memory runs out it is as any program.
    switch: { flows: { perPort: 1_000_000, ring: 65_536 }, oomScoreAdjust: 0 },
    agent: { oomScoreAdjust: 0 },
    limits: { ports: 4096 },
    log: { format: 'json' },
    // A lab in a pod of a cluster is not about that cluster.
    kubernetes: { mode: 'off' },
    paths: { run: runDirectory },
  };
  return merge(base, options.config);
}

function merge(
  base: Readonly<Record<string, unknown>>,
  over: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  const merged: Record<string, unknown> = { ...base };
  for (const [key, value] of Object.entries(over)) {
    const held = merged[key];
    merged[key] = isMapping(held) && isMapping(value) ? merge(held, value) : value;
  }
  return merged;
}

function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** When the agent does not come up, its log or the switch's says why. */
function withLastWords(error: Error, node: NodeProcesses): Error {
  if (error instanceof WeftError && error.code === 'lab-process') return error;
  const words = (['switch', 'agent'] as const)
    .map((name) => [name, node.lastWords(name)] as const)
    .filter(([, text]) => text !== '')
    .map(([name, text]) => `Last words of the ${name}:\n${text}`);
  return new WeftError('lab-start', [`The lab did not come up: ${error.message}`, ...words].join('\n'));
}

// -------------------------------------------------------------------------------------------------------------- control socket

/** An answer without the id, which the connection gives. */
type Unnumbered<Answer> = Answer extends { readonly id: number } ? Omit<Answer, 'id'> : never;

async function listen(options: LabOptions, lab: Lab, node: NodeProcesses, started: number): Promise<void> {
  const server = createServer((socket) => {
    const lines = new Lines(socket, maximumLine, {
      message: (message) => {
        const request = message as unknown as LabRequest;
        serve(request).then(
          (body) => {
            lines.send({ ...body, id: request.id });
            if (request.type === 'down') socket.end(() => process.exit(0));
          },
          (error: unknown) => {
            const known = error instanceof WeftError || (error as { code?: unknown }).code !== undefined;
            const { code, message: text } = error as { code?: string; message: string };
            const said = known ? text : String((error as Error).stack);
            lines.send({ type: 'error', id: request.id, code: code ?? 'internal', message: said });
          },
        );
      },
      garbage: () => lines.destroy(),
      closed: () => {},
    });
  });
  const serve = async (request: LabRequest): Promise<Unnumbered<LabAnswers[keyof LabAnswers]>> => {
    const begun = performance.now();
    const milliseconds = () => Math.round(performance.now() - begun);
    switch (request.type) {
      case 'status':
        return {
          type: 'status',
          name: options.name,
          uptimeSeconds: Math.round((performance.now() - started) / 1000),
          agentRestarts: node.agentRestarts,
          ...lab.status(),
        };
      case 'apply':
      case 'delete':
      case 'replace': {
        const changes = await lab.apply(request.objects, request.type);
        return { type: 'applied', ...changes, milliseconds: milliseconds() };
      }
      case 'externals':
        await lab.setExternals(request.hosts);
        return { type: 'applied', changes: [], problems: [], milliseconds: milliseconds() };
      case 'probe':
        return { type: 'probed', cells: await lab.probe(request.selection), milliseconds: milliseconds() };
      case 'ask':
        return { type: 'probed', cells: await lab.ask(request.questions), milliseconds: milliseconds() };
      case 'place':
        return { type: 'place', ...lab.place(request.pod) };
      case 'down':
        return { type: 'down' };
      default:
        throw new WeftError(
          'lab-request',
          `The lab does not know the request "${(request as { type: string }).type}".`,
        );
    }
  };
  const mask = process.umask(0o177);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(controlSocket, () => resolve());
  });
  process.umask(mask);
}
