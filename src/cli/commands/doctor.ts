/** `weft doctor`: what is wrong, or would go wrong, on this node, each with its remedy. */
import { networkInterfaces } from 'node:os';
import { type Command, Option } from 'commander';
import { loadConfig } from '../../config/load.js';
import type { Config } from '../../config/options.js';
import { defaultConfig } from '../../config/parse.js';
import { WeftError } from '../../errors/problem.js';
import {
  type AgentOptions,
  type Answers,
  exitStatus,
  openAgent,
  runAfar,
  withAgentOptions,
} from '../connect.js';
import { error, type Finding, levels, ok } from '../doctor/finding.js';
import { networkFindings } from '../doctor/networks.js';
import { preflight } from '../doctor/preflight.js';
import { runningFindings } from '../doctor/running.js';
import { meansCluster } from '../far.js';
import { type Chosen, counted, formatOf, formatOption, jsonOption, print, printData } from '../output.js';

interface DoctorOptions extends AgentOptions, Chosen {
  readonly preflight?: true;
  readonly root: string;
}

export function register(program: Command): void {
  withAgentOptions(
    program
      .command('doctor')
      .description('Look for what is wrong, or would go wrong, on this node; each finding has its remedy.')
      .option('--preflight', 'only what the host needs, as deploy/preflight.sh; without a running agent')
      .addOption(
        new Option('--root <folder>', "folder in which the host's files are, such as /host in a container")
          .env('WEFT_HOST_ROOT')
          .default(''),
      )
      .addOption(formatOption())
      .addOption(jsonOption()),
  )
    .addHelpText('after', '\nExit status: 0 nothing but warnings, 1 errors.\n')
    .action(async (options: DoctorOptions) => {
      const nodes = await examineAll(options, program.version() ?? '');
      const one = nodes.answers[0]?.node === '';
      const findings = nodes.answers.flatMap(({ value }) => value);
      const format = formatOf(options);
      if (format === 'json' || format === 'yaml')
        printData(
          format,
          one ? findings : nodes.answers.map(({ node, value }) => ({ node, findings: value })),
        );
      else
        for (const { node, value } of nodes.answers)
          print(`${one ? '' : `== ${node}\n`}${formatFindings(value, format === 'wide')}`);
      process.exitCode = exitStatus(nodes, findings.some(({ level }) => level === 'error') ? 1 : 0);
    });
}

/** Of this node, or of every node of a cluster, where the same command runs in the agent's pod. */
async function examineAll(options: DoctorOptions, version: string): Promise<Answers<readonly Finding[]>> {
  // A lab is in namespaces and folders of its own: what this host has is neither its trouble nor its remedy.
  if (options.lab !== undefined && options.preflight !== true)
    return { answers: [{ node: '', value: await running(options, version) }], failures: [] };
  if (options.lab !== undefined || !meansCluster(options))
    return { answers: [{ node: '', value: await examine(options, version) }], failures: [] };
  const flag = options.preflight === true ? ' --preflight' : '';
  // Status 1 says that there are errors among the findings, which is no failure to find them.
  const command = ['sh', '-c', `weft doctor --json${flag} || test $? -eq 1`];
  const { answers, failures } = await runAfar(options, command);
  return {
    answers: answers.map(({ node, value }) => ({ node, value: JSON.parse(value.toString()) as Finding[] })),
    failures,
  };
}

/** Every finding, in the order in which they were made. Also what `weft sysdump` holds. */
export async function examine(
  options: Omit<DoctorOptions, 'output' | 'json'>,
  version: string,
): Promise<readonly Finding[]> {
  const { config, finding } = await configuration(options);
  const host = await preflight(config, options.root);
  if (options.preflight === true) return [finding, ...host];
  return [finding, ...host, ...(await running(options, version, config.network.hostInterface))];
}

async function configuration(options: AgentOptions): Promise<{ config: Config; finding: Finding }> {
  const overrides = options.runDir === undefined ? {} : { paths: { run: options.runDir } };
  try {
    const config = await loadConfig(options.config, overrides);
    return { config, finding: ok('configuration', options.config ?? 'as it is read by agent and switch') };
  } catch (failure) {
    if (!(failure instanceof WeftError)) throw failure;
    return {
      config: defaultConfig(),
      finding: error(
        'configuration',
        failure.message,
        'mend the file: agent and switch do not start with it',
      ),
    };
  }
}

/** `hostInterface`: weft's own, where the host's networks are looked at as well. */
async function running(
  options: AgentOptions,
  version: string,
  hostInterface?: string,
): Promise<readonly Finding[]> {
  try {
    // This node's own, also where a kubeconfig could lead elsewhere.
    const agent = await openAgent(options);
    const status = await agent.request('status').finally(() => agent.close());
    const podCidrs = status.addresses.map(({ cidr }) => cidr);
    const networks =
      hostInterface === undefined ? [] : networkFindings(podCidrs, networkInterfaces(), hostInterface);
    return [...runningFindings(status, version), ...networks];
  } catch (failure) {
    if (!(failure instanceof WeftError)) throw failure;
    return [
      error(
        'agent',
        failure.message,
        'start `weft agent`, or look into its log; running pods keep their network meanwhile',
      ),
    ];
  }
}

/** What is wrong first; what is well is counted, or with `wide` listed. Exported for its test. */
export function formatFindings(findings: readonly Finding[], wide: boolean): string {
  const shown = levels.flatMap((level) =>
    level === 'ok' && !wide ? [] : findings.filter((finding) => finding.level === level),
  );
  const lines = shown.flatMap(({ level, check, seen, remedy }) => [
    `${level.toUpperCase().padEnd(7)} ${check}: ${seen.replaceAll('\n', '\n        ')}`,
    ...(remedy === undefined ? [] : [`        remedy: ${remedy}`]),
  ]);
  const count = (level: Finding['level']) => findings.filter((finding) => finding.level === level).length;
  return [
    ...lines,
    `${counted(count('error'), 'error')}, ${counted(count('warning'), 'warning')}, ${count('ok')} ok`,
    '',
  ].join('\n');
}
