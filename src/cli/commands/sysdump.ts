/** `weft sysdump`: everything about this node that a report of a fault needs, in one archive, without secrets. */
import { writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { gunzipSync, gzipSync } from 'node:zlib';
import { type Command, Option } from 'commander';
import { stringify } from 'yaml';
import type { AgentClient } from '../../agent/client.js';
import { loadConfig } from '../../config/load.js';
import { WeftError } from '../../errors/problem.js';
import { type AgentOptions, openAgent, runAfar, runFolder, withAgentOptions } from '../connect.js';
import { meansCluster } from '../far.js';
import { counted } from '../output.js';
import { agentEntries, type Entry, hostEntries, logEntries, pack, runEntries } from '../sysdump/collect.js';
import { joinTars } from '../sysdump/tar.js';
import { examine } from './doctor.js';

interface SysdumpOptions extends AgentOptions {
  readonly write?: string;
  readonly root: string;
}

export function register(program: Command): void {
  withAgentOptions(
    program
      .command('sysdump')
      .description(
        'Pack status, configuration, counters, flows, logs and the state of the host into one archive, without secrets.',
      )
      .option(
        '-w, --write <file>',
        'the archive; - for standard output (default: weft-sysdump-NODE-TIME.tar.gz)',
      )
      .addOption(
        new Option('--root <folder>', "folder in which the host's files are, such as /host in a container")
          .env('WEFT_HOST_ROOT')
          .default(''),
      ),
  )
    .addHelpText(
      'after',
      '\nIt holds names and addresses of pods, Services and policies, but no tokens, keys, Secrets or environment.\n',
    )
    .action((options: SysdumpOptions) =>
      options.lab === undefined && meansCluster(options)
        ? sysdumpOfCluster(options)
        : sysdump(options, program.version() ?? ''),
    );
}

/** `weft-sysdump-NODE-2026-01-02T030405`: of the archive, and of the folder in it. */
function nameOf(what: string, now: Date): string {
  return `weft-sysdump-${what}-${now.toISOString().slice(0, 19).replaceAll(':', '')}`;
}

/** Each node packs its own; here they become one archive, a folder for each node. */
async function sysdumpOfCluster(options: SysdumpOptions): Promise<void> {
  const file = target(options, nameOf('cluster', new Date()));
  const { answers } = await runAfar(options, ['weft', 'sysdump', '--write', '-']);
  const archive = gzipSync(joinTars(answers.map(({ value }) => gunzipSync(value))));
  if (file === '-') process.stdout.write(archive);
  else write(file, archive);
  process.stderr.write(`${counted(answers.length, 'node')}, ${archive.length} bytes: ${file}\n`);
}

function target(options: SysdumpOptions, name: string): string {
  const file = options.write ?? `${name}.tar.gz`;
  if (file === '-' && process.stdout.isTTY)
    throw new WeftError('usage', 'The archive is binary: send it to a file or a pipe.');
  return file;
}

async function sysdump(options: SysdumpOptions, version: string): Promise<void> {
  const now = new Date();
  const folder = nameOf(hostname(), now);
  const file = target(options, folder);
  let opened: Promise<AgentClient> | undefined;
  const agent = () => {
    opened ??= openAgent(options);
    return opened;
  };
  const { archive, gathered } = await pack(await entries(options, version, agent), folder, now);
  await opened?.then((client) => client.close()).catch(() => {});
  if (file === '-') process.stdout.write(archive);
  else write(file, archive);
  const missing = gathered.filter(({ bytes, note }) => bytes === 0 && note !== undefined);
  for (const { name, note } of missing) process.stderr.write(`${name} is not in it: ${note}\n`);
  process.stderr.write(`${gathered.length - missing.length} entries, ${archive.length} bytes: ${file}\n`);
}

async function entries(
  options: SysdumpOptions,
  version: string,
  agent: () => Promise<AgentClient>,
): Promise<readonly Entry[]> {
  const { write: _write, ...asked } = options;
  const run = await runFolder(options).catch(() => null);
  return [
    {
      name: 'versions.json',
      gather: async () =>
        `${JSON.stringify({ weft: version, node: process.version, platform: `${process.platform} ${process.arch}` }, null, 2)}\n`,
    },
    {
      name: 'doctor.json',
      gather: async () => `${JSON.stringify(await examine(asked, version), null, 2)}\n`,
    },
    { name: 'configuration.yaml', gather: async () => stringify(await loadConfig(options.config)) },
    ...agentEntries(agent),
    ...(run === null ? [] : runEntries(run)),
    ...hostEntries(),
    ...logEntries(options.root),
  ];
}

function write(file: string, archive: Buffer): void {
  try {
    writeFileSync(file, archive, { mode: 0o600 });
  } catch (error) {
    throw new WeftError(
      'sysdump-write',
      `${file} cannot be written (${(error as NodeJS.ErrnoException).code}).`,
      { cause: error },
    );
  }
}
