/** `weft switch`: the data plane process. Started by `weft-supervise`, or alone. */

import { writeSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { Config } from '../../config/options.js';
import { WeftError } from '../../errors/problem.js';

interface SwitchCommandOptions {
  readonly config?: string;
  readonly runDir?: string;
  readonly supervisedFd: number;
}

const descriptor = (text: string): number => {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError('The number of an open descriptor is needed.');
  return Number(text);
};

export function register(program: Command): void {
  program
    .command('switch')
    .description(
      'Run the switch of this node: holds the ports, forwards packets, enforces the last published policy.',
    )
    .option('--config <file>', 'configuration file (default: /etc/weft/config.yaml where it exists)')
    .addOption(
      new Option(
        '--run-dir <folder>',
        'run directory, on tmpfs, instead of paths.run of the configuration',
      ).env('WEFT_RUN_DIR'),
    )
    .option('--supervised-fd <number>', 'socket inherited from weft-supervise', descriptor, -1)
    .action((options: SwitchCommandOptions) => run(options, program.version() ?? ''));
}

/** One for each listed core; else one for each core of the machine but one. */
function defaultWorkers(cores: number): number {
  return Math.min(8, Math.max(1, cores || availableParallelism() - 1));
}

/** What costs time to load is imported here, so that other commands do not pay for it and this one pays for nothing else. */
async function run(options: SwitchCommandOptions, version: string): Promise<void> {
  const { keepLast, loadLastGood } = await import('../../config/last.js');
  const {
    config,
    text,
    refused: mistake,
  } = await loadLastGood(
    options.config,
    options.runDir === undefined ? {} : { paths: { run: options.runDir } },
  );
  const [
    { SwitchProcess },
    { switchSettings },
    { scheduleControlThread },
    { loadAddon },
    { spareFromOom, withSupervisor },
    log,
  ] = await Promise.all([
    import('../../dataplane/switch-process.js'),
    import('../../agent/switch-settings.js'),
    import('../../dataplane/control-thread.js'),
    import('../../dataplane/addon.js'),
    import('../../telemetry/oom-score.js'),
    openSwitchLog(config.log),
  ]);
  const { coalesce, connections, cores, drain, flows, fragments, nice, pollTime, scheduling, services } =
    config.switch;
  const workers = config.switch.workers || defaultWorkers(cores.length);
  // SIGTERM before the switch is up still has to end it.
  if (mistake !== undefined)
    process.stderr.write(
      `weft: ${mistake.message}\nweft: the switch runs with the last good configuration\n`,
    );
  let terminate: () => void = () => process.exit(0);
  const terminated = new Promise<void>((resolve) => {
    terminate = resolve;
  });
  const stopSignals = ['SIGTERM', 'SIGINT'] as const;
  for (const signal of stopSignals) process.once(signal, () => terminate());
  // The agent publishes what may change while the switch runs.
  process.on('SIGHUP', () => {});

  const started = await SwitchProcess.start({
    runDirectory: config.paths.run,
    supervisorDescriptor: options.supervisedFd,
    limits: {
      workers,
      maximumPorts: config.limits.ports,
      maximumConnections: connections.capacity,
      busyPollMicroseconds: pollTime,
      scheduling,
      nice,
      cores: cores.map(Number),
      drainFrames: drain.frames,
      drainMicroseconds: drain.time,
      fragmentedPackets: fragments.packets,
      fragmentedPacketsPerPort: fragments.packetsPerPort,
      heldFragments: fragments.held,
      heldFragmentsPerPort: fragments.heldPerPort,
      affinityClients: services.affinityCapacity,
      flowRing: flows.ring,
      coalesceUdp: coalesce.udp,
      queueLength: config.switch.queueLength,
      queueDiscipline: config.switch.queueDiscipline,
      sysctl: config.paths.sysctl,
    },
    settings: switchSettings(config),
    version,
    log,
  }).catch(cannotStart);
  await keepLast(config.paths.run, text);
  // After the workers were started, which have a nice value of their own.
  const scheduleRefused = scheduleControlThread(loadAddon(), config.agent);
  for (const reason of scheduleRefused) log('the control thread competes with pods', { reason });
  started.controlRefused = scheduleRefused;
  const exposed = spareFromOom(config.switch.oomScoreAdjust, withSupervisor());
  if (exposed !== null) log('when memory runs out the switch is ended as any process', { reason: exposed });
  await terminated;
  log('the switch is stopping', {});
  await started.stop();
}

/** What starting again cannot mend: no right to make namespaces, no addon, values that the switch cannot run with. */
const lastingFailures = /^(namespace-create|addon-load|connections-options|setting-)/;

/**
 * Exit status 2 tells the supervisor to give up, which only a lasting failure is worth: a full disk, a table that the predecessor has
 * not let go of yet, too many open files pass, and are worth another try.
 */
function cannotStart(error: Error & { readonly code?: string }): never {
  if (typeof error.code !== 'string') throw error;
  if (error instanceof WeftError) throw error;
  const message = `The switch cannot start. ${error.message}`;
  if (lastingFailures.test(error.code)) throw new WeftError(error.code, message, { cause: error });
  process.stderr.write(`weft: ${message}\n`);
  process.exit(1);
}

/**
 * Lines as telemetry/log.ts writes them. For a terminal it is that log; for a machine the lines are written here, since loading the
 * logger would cost a restart a good part of its time.
 */
async function openSwitchLog(options: Config['log']): Promise<(message: string, fields: object) => void> {
  if (options.format === 'pretty' || (options.format === 'auto' && process.stderr.isTTY)) {
    const { openLog } = await import('../../telemetry/log.js');
    const log = openLog('switch', options);
    return (message, fields) => log.info(fields, message);
  }
  const silent = !['trace', 'debug', 'info'].includes(options.level);
  return (message, fields) => {
    if (silent) return;
    const head = { level: 'info', time: new Date().toISOString(), process: 'switch', pid: process.pid };
    try {
      writeSync(2, `${JSON.stringify({ ...head, ...fields, msg: message })}\n`);
    } catch {
      // A log that nobody reads any more (EPIPE, EAGAIN) must not stop the switch.
    }
  };
}
