/**
 * The agent as a process: one configuration, one run directory, one socket.
 *
 * Order at start: the socket first (its lock is the one against a second agent), then the epoch, then leases and attachments, then the
 * sources; the switch is only told something once all of that is known.
 */
import { mkdirSync } from 'node:fs';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { keepLast } from '../config/last.js';
import { changeConfig, readConfig } from '../config/load.js';
import type { Config } from '../config/options.js';
import type { Overrides } from '../config/parse.js';
import { WeftError } from '../errors/problem.js';
import { TelemetryServer } from '../telemetry/http.js';
import type { Agent } from './agent.js';
import { collect, collectTrial } from './collect.js';
import { agentSocketName } from './protocol.js';
import { requestHandler } from './requests.js';
import { RunFolder } from './run-folder.js';
import { AgentServer, type HandleMessage, type IdentifyPeer, type TakeLock } from './server.js';
import { startUpkeep } from './upkeep.js';
import { type Folders, type Wired, type WireOptions, wire } from './wire.js';

export interface AgentProcessOptions extends WireOptions {
  /** File and overrides that SIGHUP reads again. */
  readonly configPath: string | undefined;
  readonly overrides: Overrides<Config>;
  readonly identifyPeer: IdentifyPeer;
  readonly takeLock: TakeLock;
  /** What the kernel refused of this process's scheduling; for the status. */
  readonly scheduleRefused?: readonly string[];
}

/** Which options of a configuration that was read again are in force, and which wait for a restart. */
export interface Reloaded {
  readonly applied: readonly string[];
  readonly needRestart: readonly string[];
}

export interface RunningAgent {
  readonly agent: Agent;
  /** TCP port of the metrics; null when they are not served. */
  readonly telemetryPort: number | null;
  reload(): Promise<Reloaded>;
  stop(): Promise<void>;
  /** Settles when another agent has taken over. */
  readonly fenced: Promise<Error>;
}

/** Starts an agent. Throws WeftErrors for what the operator can mend. */
export async function startAgent(options: AgentProcessOptions): Promise<RunningAgent> {
  const { config, log, version } = options;
  const folders = makeFolders(config);
  const { run } = folders;
  let handle: HandleMessage = () => {};
  const server = new AgentServer(
    join(run, agentSocketName),
    options.identifyPeer,
    options.takeLock,
    (message, client) => handle(message, client),
  );
  await server.listen();
  // What was begun, in that order; it ends the other way round.
  const ends: (() => void | Promise<void>)[] = [() => server.close()];
  const stop = async () => {
    for (const end of ends.splice(0).reverse()) await end();
  };
  try {
    const started = performance.now();
    const wired = wire(options, folders);
    const { agent, epoch, leases, registry, heap, host, fenced } = wired;
    const metrics = () => metricsText(wired);
    const reload = () => reloadConfig(options, agent, run);
    handle = requestHandler({
      ...wired,
      version,
      pools: () => leases.use().map((pool) => ({ ...pool, total: String(pool.total) })),
      uptimeSeconds: () => Math.round((performance.now() - started) / 1000),
      scheduleRefused: options.scheduleRefused ?? [],
      metrics,
      cniCounted: (verb, code) => registry.increment('weft_cni_requests_total', { verb, code: String(code) }),
      reload,
      log: (message, fields) => log.error(fields, message),
    });
    const telemetry = config.telemetry.enabled ? await serveTelemetry(options, wired) : null;
    if (telemetry !== null) ends.push(() => telemetry.server.close());
    agent.start();
    ends.push(async () => {
      heap.stop();
      agent.stop();
      await host?.stop();
    });
    const folder = new RunFolder({ run, epoch, leases, server, agent, log });
    ends.push(startUpkeep({ ...wired, folder, log }));
    const milliseconds = Math.round(process.uptime() * 1000);
    log.info({ epoch, node: agent.state.node.name, ...folders, milliseconds }, 'agent started');
    return { agent, telemetryPort: telemetry?.port ?? null, reload, stop, fenced };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** The run directory, and in it the folder of manifests where the configuration names none. */
function makeFolders({ paths }: Config): Folders {
  const { run } = paths;
  makeDirectory(run);
  if (paths.manifests !== '') return { run, manifests: paths.manifests };
  const manifests = join(run, 'manifests');
  makeDirectory(manifests);
  return { run, manifests };
}

function makeDirectory(path: string): void {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new WeftError(
      'run-directory',
      `The run directory ${path} cannot be made (${(error as NodeJS.ErrnoException).code}). Run as root, or name another with --run-dir.`,
      { cause: error },
    );
  }
}

async function metricsText({ registry, agent, leases, trials }: Wired): Promise<string> {
  await collect(registry, agent, leases.use());
  collectTrial(registry, trials.totals);
  return registry.text();
}

async function serveTelemetry(
  { config: { telemetry }, log }: AgentProcessOptions,
  wired: Wired,
): Promise<{ readonly server: TelemetryServer; readonly port: number }> {
  const { agent, registry } = wired;
  const server = new TelemetryServer({
    metrics: async () => ({ text: await metricsText(wired), contentType: registry.contentType }),
    unready: () => (agent.ready ? null : agent.unreadyReason),
  });
  const port = await server.listen(telemetry.address, telemetry.port);
  log.info({ address: telemetry.address, port }, 'serving metrics');
  return { server, port };
}

/** Reads the configuration again; live options are in force when it resolves. Rejects where it is not good, and nothing was changed. */
async function reloadConfig(
  { configPath, overrides, log }: AgentProcessOptions,
  agent: Agent,
  run: string,
): Promise<Reloaded> {
  const { config: next, text } = await readConfig(configPath, overrides);
  await keepLast(run, text);
  const { config, live, restart } = changeConfig(agent.config, next);
  agent.configure(config);
  log.level = config.log.level;
  if (live.length > 0) log.info({ options: live }, 'configuration changed');
  if (restart.length > 0)
    log.warn({ options: restart }, 'these options changed and need a restart of agent and switch');
  return { applied: live, needRestart: restart };
}

/** By the kernel's word (SO_PEERCRED), through the addon. */
export function peerIdentity(
  credentials: (descriptor: number) => { readonly pid: number; readonly uid: number },
): IdentifyPeer {
  return (socket: Socket) => {
    const handle = (socket as unknown as { readonly _handle?: { readonly fd?: number } | null })._handle;
    const descriptor = handle?.fd ?? -1;
    return descriptor < 0 ? null : credentials(descriptor);
  };
}
