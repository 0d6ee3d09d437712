/** `weft agent`: the control plane process of a node. */
import { type Command, Option } from 'commander';
import { keepLast, loadLastGood } from '../../config/last.js';
import type { Config } from '../../config/options.js';
import type { Overrides } from '../../config/parse.js';
import { loadAddon } from '../../dataplane/addon.js';
import { leaveHelpersBehind, scheduleControlThread } from '../../dataplane/control-thread.js';
import { WeftError } from '../../errors/problem.js';
import { openLog } from '../../telemetry/log.js';
import { spareFromOom, withSupervisor } from '../../telemetry/oom-score.js';
import { type RunOptions, withRunOptions } from '../connect.js';

interface AgentOptions extends RunOptions {
  readonly manifests?: string;
  readonly nodeName?: string;
  readonly logLevel?: Config['log']['level'];
}

export function register(program: Command): void {
  withRunOptions(
    program
      .command('agent')
      .description("Run this node's control plane: watch the sources, compile policy, serve CNI requests.")
      .addOption(new Option('--manifests <folder>', 'folder of manifests, instead of paths.manifests'))
      .addOption(
        new Option('--node-name <name>', 'name of the node, instead of node.name').env('WEFT_NODE_NAME'),
      )
      .addOption(new Option('--log-level <level>', 'instead of log.level')),
  )
    .addHelpText(
      'after',
      '\nSIGHUP reads the configuration again; SIGTERM ends the agent, and the switch goes on enforcing.\n',
    )
    .action((options: AgentOptions) => runAgent(options, program.version() ?? ''));
}

async function runAgent(options: AgentOptions, version: string): Promise<void> {
  const overrides = {
    ...(options.nodeName === undefined || options.nodeName === ''
      ? {}
      : { node: { name: options.nodeName } }),
    ...(options.logLevel === undefined ? {} : { log: { level: options.logLevel } }),
    paths: {
      ...(options.runDir === undefined ? {} : { run: options.runDir }),
      ...(options.manifests === undefined ? {} : { manifests: options.manifests }),
    },
  } satisfies Overrides<Config>;
  const { config, text, refused: mistake } = await loadLastGood(options.config, overrides);
  const log = openLog('agent', config.log);
  // Before all that takes time: until the sources were read, what they told since the last agent died is not enforced.
  const addon = loadAddon();
  const scheduleRefused = scheduleControlThread(addon, config.agent);
  for (const reason of scheduleRefused) log.warn({ reason }, 'the agent competes with pods');
  leaveHelpersBehind();
  const [{ peerIdentity, startAgent }, { imageCompiler }] = await Promise.all([
    import('../../agent/process.js'),
    import('../../agent/compile-image.js'),
  ]);
  if (mistake !== undefined)
    log.error(`the configuration file is not good; the last good one is in force: ${mistake.message}`);
  const running = await startAgent({
    configPath: options.config,
    overrides,
    config,
    compile: imageCompiler(),
    trialCompiler: imageCompiler,
    identifyPeer: peerIdentity((descriptor) => addon.peerCredentials(descriptor)),
    takeLock: (path) => addon.lockFile(path),
    hasWriter: (path) => addon.hasWriter(path),
    askMark: (table, chains) => addon.nftTableMark(table, chains),
    scheduleRefused,
    log,
    version,
  }).catch(cannotStart);
  await keepLast(config.paths.run, text);
  const exposed = spareFromOom(config.agent.oomScoreAdjust, withSupervisor());
  if (exposed !== null)
    log.warn({ reason: exposed }, 'when memory runs out the agent is ended as any process');
  process.on('SIGHUP', () => {
    running.reload().catch((error: Error) => log.error(`the configuration stays as it is: ${error.message}`));
  });
  const end = await new Promise<NodeJS.Signals | Error>((resolve) => {
    process.once('SIGTERM', resolve);
    process.once('SIGINT', resolve);
    running.fenced.then(resolve);
  });
  await running.stop();
  if (typeof end === 'string') log.info({ signal: end }, 'agent ended; the switch goes on enforcing');
  else throw end;
}

/** A predecessor that is still dying, a full disk, a kubeconfig that is written later: worth another try. */
const passingFailures = /^(agent-running|agent-listen|epoch-write|run-directory|kube-credentials)$/;

/** Exit status 2 tells the supervisor to give up, which only a lasting failure is worth. */
function cannotStart(error: Error): never {
  if (!(error instanceof WeftError) || !passingFailures.test(error.code)) throw error;
  process.stderr.write(`weft: ${error.message}\n`);
  process.exit(1);
}
