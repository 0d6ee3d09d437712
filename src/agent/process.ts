/**
 * The agent as a process: one configuration, one run directory, one socket; wires the parts together and takes signals.
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
import { switchSocketName } from '../dataplane/protocol.js';
import { WeftError } from '../errors/problem.js';
import { Host } from '../host/host.js';
import type { AskMark } from '../host/nft.js';
import { Leases } from '../ipam/leases.js';
import { keyOf } from '../model/event.js';
import { Directory } from '../policy/directory.js';
import { TelemetryServer } from '../telemetry/http.js';
import type { Logger } from '../telemetry/log.js';
import { MetricsRegistry } from '../telemetry/registry.js';
import { Agent } from './agent.js';
import { type AttachmentDetails, isAttachmentDetails } from './attachment.js';
import { collect, collectTrial } from './collect.js';
import type { Compile } from './compile.js';
import { nextEpoch } from './epoch.js';
import { Flows } from './flows.js';
import { Heap, ownHeap } from './heap.js';
import { hostState, setsUpHost } from './host-state.js';
import { ImageFiles } from './image-files.js';
import type { HasWriter } from './manifest-source.js';
import { Names } from './names.js';
import { type Environment, openSource } from './open-source.js';
import { PodEvents } from './pod-events.js';
import { PodNetwork } from './pod-network.js';
import type { FlowRecord } from './protocol/events.js';
import { agentSocketName } from './protocol.js';
import { requestHandler } from './requests.js';
import { RunFolder } from './run-folder.js';
import { AgentServer, type HandleMessage, type IdentifyPeer, type TakeLock } from './server.js';
import { SwitchLink } from './switch-link.js';
import { podCidrs } from './this-node.js';
import { Trials } from './trials.js';

/** Milliseconds. */
const reconcileEvery = 30_000;
const glanceEvery = 1000;
const tellEvery = 5_000;
const eventPatience = 10_000;
/** A pod whose namespace has been gone for so long is not coming to its DEL any more. Milliseconds. */
const goneGrace = 60_000;

export interface AgentProcessOptions {
  /** File and overrides that SIGHUP reads again. */
  readonly configPath: string | undefined;
  readonly overrides: Overrides<Config>;
  readonly config: Config;
  readonly compile: Compile;
  /** A compiler of its own for a trial, which follows another World. Absent: `compile`, which then serves both. */
  readonly trialCompiler?: () => Compile;
  readonly identifyPeer: IdentifyPeer;
  readonly takeLock: TakeLock;
  /** Absent: unknown of every file, which then waits a moment before it is read. */
  readonly hasWriter?: HasWriter;
  /** Absent: a table that somebody has removed from the host is found at the next thorough look. */
  readonly askMark?: AskMark;
  /** The process's own where absent; it says whether this is a pod of a cluster. */
  readonly environment?: Environment;
  readonly log: Logger;
  readonly version: string;
}

export interface RunningAgent {
  readonly agent: Agent;
  /** TCP port of the metrics; null when they are not served. */
  readonly telemetryPort: number | null;
  reload(): Promise<{ readonly applied: readonly string[]; readonly needRestart: readonly string[] }>;
  stop(): Promise<void>;
  /** Settles when another agent has taken over. */
  readonly fenced: Promise<Error>;
}

/** Starts an agent. Throws WeftErrors for what the operator can mend. */
export async function startAgent(options: AgentProcessOptions): Promise<RunningAgent> {
  const { config, log } = options;
  const run = config.paths.run;
  const manifests = config.paths.manifests === '' ? join(run, 'manifests') : config.paths.manifests;
  makeDirectory(run);
  if (config.paths.manifests === '') makeDirectory(manifests);

  let handle: HandleMessage = () => {};
  const server = new AgentServer(
    join(run, agentSocketName),
    options.identifyPeer,
    options.takeLock,
    (message, client) => handle(message, client),
  );
  await server.listen();
  const telemetry = { server: null as TelemetryServer | null, port: null as number | null };
  try {
    const started = performance.now();
    const epoch = nextEpoch(run);
    const leases = new Leases<AttachmentDetails>(
      join(run, 'leases.jsonl'),
      podCidrs(config),
      (problem) => log.warn({ problem }, problem.message),
      isAttachmentDetails,
    );
    const heap = new Heap(ownHeap());
    const opened = openSource(
      config,
      manifests,
      options.hasWriter,
      options.environment ?? process.env,
      log,
      options.version,
    );
    const sources = [opened.source];
    const fromApi = sources.some(({ assignsAddresses }) => !assignsAddresses);
    const network = new PodNetwork(config, leases, fromApi);
    const registry = new MetricsRegistry();
    const host = setsUpHost(config, options.environment ?? process.env)
      ? new Host({
          runDirectory: run,
          root: config.host.root,
          ...(options.askMark === undefined ? {} : { askMark: options.askMark }),
          log: (level, message, fields) => log[level](fields ?? {}, message),
          touched: (what) => registry.increment('weft_host_touched_total', { what }),
          applied: (seconds, failures) => {
            registry.observe('weft_host_apply_seconds', seconds);
            registry.set('weft_host_applied', failures === 0 ? 1 : 0);
            if (failures > 0) registry.increment('weft_host_failures_total', {}, 1);
          },
        })
      : null;
    const setUpHost = () => {
      const state = host === null ? null : hostState(agent);
      if (state === null) return;
      registry.set('weft_host_ports', state.hostPorts.length);
      host?.want(state);
    };
    // Until then what the API said since the agent before this one died is not enforced.
    let saidFirst = false;
    const sayFirst = () => {
      if (saidFirst || !agent.ready) return;
      saidFirst = true;
      const seconds = process.uptime();
      registry.set('weft_agent_start_seconds', seconds);
      log.info({ milliseconds: Math.round(seconds * 1000) }, 'what the sources tell is in force');
    };
    let fence: (error: Error) => void = () => {};
    const fenced = new Promise<Error>((resolve) => {
      fence = resolve;
    });
    const images = new ImageFiles(run, epoch);
    const agent = new Agent({
      config,
      epoch,
      sources,
      leases,
      images,
      compile: options.compile,
      openSwitch: () => SwitchLink.open(join(run, switchSocketName)),
      network,
      hostProblems: () => host?.problems ?? [],
      now: () => performance.now(),
      fenced: (error) => fence(error),
      observer: {
        log: (level, message, fields) => log[level](fields ?? {}, message),
        compiled: ({ lastMilliseconds, imageBytes }) => {
          registry.observe('weft_agent_compile_seconds', lastMilliseconds / 1000);
          heap.stirred();
          log.debug({ milliseconds: lastMilliseconds, bytes: imageBytes }, 'policy compiled');
        },
        acknowledged: () => {
          sayFirst();
          setUpHost();
          // Also when a trial has ended, which leaves a compiler behind.
          heap.stirred();
          heap.settled();
        },
        leaked: (count) => registry.increment('weft_ipam_leaked_total', {}, count),
        attached: (milliseconds) => registry.observe('weft_agent_attach_seconds', milliseconds / 1000),
        connected: (link) => {
          link
            .flows({}, { events: (events, lost) => tookFlows(flows.take(events, lost)) })
            .catch((error: Error) => log.warn({ error: error.message }, 'no flow events from the switch'));
        },
      },
    });
    const directory = new Directory(agent.state.world);
    const names = new Names(directory);
    const flows = new Flows(names, () => agent.config.agent.flowHistory);
    const trials = new Trials({
      agent,
      names,
      images,
      compiler: options.trialCompiler ?? (() => options.compile),
      log: (message, fields) => log.info(fields, message),
    });
    const { client } = opened;
    const podEvents =
      client === null
        ? null
        : new PodEvents({
            node: () => agent.state.node.name,
            pod: (namespace, name) => agent.state.world.get('pod', keyOf(namespace, name)),
            send: (method, path, body) => client.send(method, path, { body, timeout: eventPatience }),
            counted: (result) => registry.increment('weft_pod_events_total', { result }),
            log: (message, fields) => log.warn(fields, message),
            now: () => performance.now(),
            date: () => Date.now(),
            enabled: () => agent.config.telemetry.podEvents,
          });
    const tookFlows = (records: readonly FlowRecord[]) => {
      countFlows(registry, records);
      podEvents?.take(records);
    };
    registry.replace('weft_build_info', [{ labels: { version: options.version }, value: 1 }]);

    const metricsText = async () => {
      await collect(registry, agent, leases.use());
      collectTrial(registry, trials.totals);
      return registry.text();
    };
    const reload = async () => {
      const { config: next, text } = await readConfig(options.configPath, options.overrides);
      await keepLast(run, text);
      const change = changeConfig(agent.config, next);
      agent.configure(change.config);
      log.level = change.config.log.level;
      if (change.live.length > 0) log.info({ options: change.live }, 'configuration changed');
      if (change.restart.length > 0)
        log.warn({ options: change.restart }, 'these options changed and need a restart of agent and switch');
      return { applied: change.live, needRestart: change.restart };
    };
    handle = requestHandler({
      agent,
      flows,
      trials,
      names,
      directory,
      version: options.version,
      epoch,
      pools: () => leases.use().map((pool) => ({ ...pool, total: String(pool.total) })),
      uptimeSeconds: () => Math.round((performance.now() - started) / 1000),
      metrics: metricsText,
      cniCounted: (verb, code) => registry.increment('weft_cni_requests_total', { verb, code: String(code) }),
      reload,
      log: (message, fields) => log.error(fields, message),
    });
    if (config.telemetry.enabled) {
      telemetry.server = new TelemetryServer({
        metrics: async () => ({ text: await metricsText(), contentType: registry.contentType }),
        unready: () => (agent.ready ? null : agent.unreadyReason),
      });
      telemetry.port = await telemetry.server.listen(config.telemetry.address, config.telemetry.port);
      log.info({ address: config.telemetry.address, port: telemetry.port }, 'serving metrics');
    }
    agent.start();
    const reconciling = setInterval(() => {
      agent.refreshNode();
      host
        ?.reconcile()
        .catch((error: Error) => log.warn({ error: error.message }, 'looking at the host failed'));
      agent
        .reconcile(goneGrace)
        .catch((error: Error) => log.warn({ error: error.message }, 'reconciling failed'));
    }, reconcileEvery);
    reconciling.unref();
    const folder = new RunFolder({ run, epoch, leases, server, agent, log });
    const glancing = setInterval(() => {
      host?.glance();
      folder.keep();
    }, glanceEvery);
    glancing.unref();
    const telling = setInterval(() => podEvents?.flush(), tellEvery);
    telling.unref();
    log.info(
      {
        epoch,
        node: agent.state.node.name,
        run,
        manifests,
        milliseconds: Math.round(process.uptime() * 1000),
      },
      'agent started',
    );
    return {
      agent,
      telemetryPort: telemetry.port,
      reload,
      fenced,
      stop: async () => {
        clearInterval(reconciling);
        clearInterval(glancing);
        clearInterval(telling);
        heap.stop();
        agent.stop();
        await host?.stop();
        await telemetry.server?.close();
        await server.close();
      },
    };
  } catch (error) {
    await telemetry.server?.close().catch(() => {});
    await server.close();
    throw error;
  }
}

function countFlows(registry: MetricsRegistry, records: readonly { readonly verdict: string }[]): void {
  for (const { verdict } of records) registry.increment('weft_flow_events_total', { verdict });
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
