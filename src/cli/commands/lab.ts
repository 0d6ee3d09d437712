/** `weft lab`: a cluster's worth of pods on one machine, to try policies with real traffic. */
import { type Command, InvalidArgumentError } from 'commander';
import { parse as parseYaml } from 'yaml';
import { WeftError } from '../../errors/problem.js';
import { enter, shellCommand } from '../../lab/enter.js';
import { runFirstProcess } from '../../lab/first-process.js';
import { type FoundLab, findLabs, firstProcessCommand, LabClient, usualName } from '../../lab/launch.js';
import type { LabOptions } from '../../lab/protocol.js';
import { exampleFolder, exampleNames, readNames, readObjects } from '../lab/input.js';
import { type Named, nameOption, outputOption } from '../lab/options.js';
import { type ProbeOptions, probe, probeOptions, selectionOf } from '../lab/probe.js';
import { columns, type Format, printData, printMatrix, printStatus } from '../lab/report.js';
import { Progress, showApplied, startLab, withLab } from '../lab/session.js';
import { watchFolder } from '../lab/watch.js';
import { counted } from '../output.js';

interface UpOptions extends Named {
  readonly file?: string[];
  readonly example?: string;
  readonly podCidr?: string[];
  readonly external?: string[];
  readonly dns: boolean;
  readonly mtu: number;
  readonly set?: string[];
}
const wholeNumber = (text: string): number => {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError('A whole number is needed.');
  return Number(text);
};

export function register(program: Command): void {
  const lab = program
    .command('lab')
    .description(
      'Try policies with real traffic: pods, Services and policies of plain manifests on this machine, no cluster needed.',
    );

  startOptions(lab.command('up'))
    .description('Start a lab; returns once every pod is enforced.')
    .addOption(nameOption())
    .action(up);
  lab
    .command('apply')
    .description('Add or change objects of the running lab; returns once they are enforced.')
    .requiredOption('-f, --file <path...>', 'manifests: files, folders, - for standard input')
    .addOption(nameOption())
    .action((options: Named & { file: string[] }) => change('apply', options));
  lab
    .command('delete')
    .description('Remove the objects that the manifests name.')
    .requiredOption('-f, --file <path...>', 'manifests: files, folders, - for standard input')
    .addOption(nameOption())
    .action((options: Named & { file: string[] }) => change('delete', options));
  probeOptions(lab.command('probe'))
    .description('Measure who reaches whom with real packets; exit status 1 where it is not as expected.')
    .argument('[from]', 'one question only: NAMESPACE/POD')
    .argument('[target]', 'NAMESPACE/POD:PORT/PROTOCOL, svc/NAMESPACE/NAME:PORT')
    .action(probe);
  probeOptions(lab.command('watch'))
    .description(
      'Apply a folder and measure again whenever a file in it is saved; starts a lab if none is running.',
    )
    .requiredOption('-f, --file <path...>', 'files and folders to watch')
    .action(watch);
  lab
    .command('exec')
    .description('Run a command inside a pod.')
    .argument('<pod>', 'NAMESPACE/POD')
    .argument('<command...>', 'after --')
    .addOption(nameOption())
    .passThroughOptions()
    .action(async (pod: string, words: string[], options: Named) => {
      const { name, command } = commandOf(words, options.name);
      process.exitCode = await insidePod(pod, name, () => command);
    });
  lab
    .command('shell')
    .description('Open a shell inside a pod.')
    .argument('<pod>', 'NAMESPACE/POD')
    .addOption(nameOption())
    .action(async (pod: string, options: Named) => {
      process.exitCode = await insidePod(pod, options.name, shellCommand);
    });
  lab
    .command('status')
    .description('Say what is in the running lab; without --name and with several labs, list them.')
    .option('--name <name>', 'which lab')
    .addOption(outputOption())
    .action(status);
  lab
    .command('down')
    .description('End a lab. Nothing of it is left.')
    .addOption(nameOption())
    .option('--all', 'every lab of yours')
    .action(down);
  lab
    .command('examples')
    .description('List the bundled examples.')
    .action(() => {
      process.stdout.write(
        exampleNames()
          .map((name) => `${name}\n`)
          .join(''),
      );
    });
  startOptions(lab.command('demo'))
    .description('Start an example, measure everything, end: the whole of weft in one command.')
    .addOption(outputOption())
    .action(demo);
  lab
    .command(firstProcessCommand, { hidden: true })
    .argument('<options>')
    .action((options: string) => runFirstProcess(JSON.parse(options) as LabOptions));
}

function startOptions(command: Command): Command {
  return command
    .option('-f, --file <path...>', 'manifests: files, folders, - for standard input')
    .option('--example <name>', `a bundled example (weft lab examples)`)
    .option(
      '--pod-cidr <cidr...>',
      "the pods' addresses, one block of each family (default 10.42.0.0/16 and fd42::/64)",
    )
    .option(
      '--external <address...>',
      'hosts outside of the cluster, which answer on TCP 80 and 443 and UDP 53',
    )
    .option('--no-dns', 'without the DNS pod and the Service kube-dns')
    .option('--mtu <bytes>', "MTU of the pods' interfaces", wholeNumber, 1500)
    .option(
      '--set <option=value...>',
      "an option of the node's configuration, such as policy.denyAction.ingress=reject",
    );
}

function labOptions(name: string, options: Omit<UpOptions, 'name'>, attached: boolean): LabOptions {
  if (!/^[a-z0-9][a-z0-9._-]*$/i.test(name))
    throw new WeftError(
      'usage',
      `--name "${name}": a lab's name is made of letters, digits, ".", "_" and "-".`,
    );
  return {
    name,
    podCidrs: options.podCidr ?? [],
    dns: options.dns,
    mtu: options.mtu,
    config: settings(options.set ?? []),
    attached,
  };
}

/** `a.b.c=value` → `{a: {b: {c: value}}}`; values as YAML reads them. */
function settings(pairs: readonly string[]): Record<string, unknown> {
  const config: Record<string, unknown> = {};
  for (const pair of pairs) {
    const at = pair.indexOf('=');
    if (at < 1)
      throw new WeftError(
        'usage',
        `--set ${pair}: write option=value, for example policy.denyAction.ingress=reject.`,
      );
    const path = pair.slice(0, at).split('.');
    let place = config;
    for (const part of path.slice(0, -1)) {
      place[part] ??= {};
      place = place[part] as Record<string, unknown>;
    }
    place[path.at(-1)!] = parseYaml(pair.slice(at + 1));
  }
  return config;
}

function manifestPaths(options: { readonly file?: string[]; readonly example?: string }): string[] {
  return [
    ...(options.file ?? []),
    ...(options.example === undefined ? [] : [exampleFolder(options.example)]),
  ];
}

async function up(options: UpOptions): Promise<void> {
  const objects = readObjects(manifestPaths(options));
  const progress = new Progress();
  const { client, launched } = await startLab(labOptions(options.name, options, false), objects, progress);
  const { pods, policies } = await addExternals(client, options.external)
    .then(() => client.request('status', {}))
    .catch(async (error: unknown) => {
      await client.down();
      throw error;
    })
    .finally(() => {
      progress.done();
      client.close();
      launched.letGo();
    });
  const suffix = options.name === usualName ? '' : ` --name ${options.name}`;
  process.stderr.write(
    `Lab ${options.name} is up: ${counted(pods.length, 'pod')}, ${counted(policies.length, 'policy')}, every pod enforced.\n` +
      `Next: weft lab probe${suffix} · weft lab shell ${pods[0]?.pod ?? 'NAMESPACE/POD'}${suffix} · weft lab down${suffix}\n`,
  );
}

async function addExternals(client: LabClient, addresses: readonly string[] | undefined): Promise<void> {
  if (addresses === undefined) return;
  const ports = [
    { protocol: 'TCP' as const, port: 80 },
    { protocol: 'TCP' as const, port: 443 },
    { protocol: 'UDP' as const, port: 53 },
  ];
  await client.request('externals', { hosts: addresses.map((address) => ({ address, ports })) });
}

async function change(type: 'apply' | 'delete', options: Named & { readonly file: string[] }): Promise<void> {
  const objects = type === 'apply' ? readObjects(options.file) : readNames(options.file);
  await withLab(options.name, async (client) => {
    showApplied(await client.request(type, { objects }), new Progress());
  });
}

async function watch(options: ProbeOptions & { readonly file: string[] }): Promise<void> {
  const stop = new AbortController();
  process.once('SIGINT', () => stop.abort());
  process.once('SIGTERM', () => stop.abort());
  const running = findLabs().some(({ name }) => name === options.name);
  const own = running
    ? undefined
    : await startLab(labOptions(options.name, { dns: true, mtu: 1500 }, true), [], new Progress());
  const client = own?.client ?? (await LabClient.connect(options.name));
  try {
    await watchFolder(client, options.file, selectionOf(options), options.output, stop.signal);
  } catch (error) {
    // A lab of our own hears the terminal's Ctrl-C too and may be gone in the middle of a measurement.
    if (!stop.signal.aborted) throw error;
  } finally {
    if (own !== undefined) await client.down();
    own?.launched.letGo();
    client.close();
  }
}

/** What stands behind the pod: the command, and perhaps a --name that was written before its `--`. */
function commandOf(words: readonly string[], usual: string): { name: string; command: readonly string[] } {
  const end = words.indexOf('--');
  if (end === 2 && words[0] === '--name') return { name: words[1]!, command: words.slice(3) };
  if (end === 1 && words[0]!.startsWith('--name='))
    return { name: words[0]!.slice('--name='.length), command: words.slice(2) };
  if (end !== 0 && words[0]!.startsWith('-'))
    throw new WeftError(
      'usage',
      `"${words[0]}" is no program. Options stand before the pod, the command behind --: weft lab exec web -- ls -l`,
    );
  const command = end === 0 ? words.slice(1) : words;
  if (command.length === 0) throw new WeftError('usage', 'Name a command after --, for example: -- ls -l');
  return { name: usual, command };
}

async function insidePod(
  pod: string,
  name: string,
  command: (lab: FoundLab, key: string) => readonly string[],
): Promise<number> {
  const { lab, place } = await withLab(name, async (client) => ({
    lab: client.lab,
    place: await client.request('place', { pod }),
  }));
  return enter(lab, place, command(lab, place.pod));
}

async function status(options: { readonly name?: string; readonly output: Format }): Promise<void> {
  const labs = findLabs();
  if (options.name === undefined && labs.length !== 1) {
    if (options.output === 'json' || options.output === 'yaml') return printData({ labs }, options.output);
    process.stdout.write(
      labs.length === 0
        ? 'No lab is running.\n'
        : columns([['LAB', 'PID'], ...labs.map(({ name, pid }) => [name, String(pid)])]),
    );
    return;
  }
  const found = await withLab(options.name ?? labs[0]!.name, (client) => client.request('status', {}));
  printStatus(found, options.output);
}

async function down(options: Named & { readonly all?: boolean }): Promise<void> {
  const names = options.all === true ? findLabs().map(({ name }) => name) : [options.name];
  if (names.length === 0) process.stderr.write('No lab is running.\n');
  for (const name of names) {
    await withLab(name, (client) => client.down());
    process.stderr.write(`Lab ${name} has ended.\n`);
  }
}

async function demo(options: Omit<UpOptions, 'name'> & { readonly output: Format }): Promise<void> {
  const started = performance.now();
  // What started us may be killed without a word; then nobody waits for the answer any more.
  const parent = process.ppid;
  const orphaned = setInterval(() => process.ppid !== parent && process.exit(1), 200).unref();
  const chosen =
    options.file === undefined && options.example === undefined
      ? { ...options, example: 'three-tier' }
      : options;
  const objects = readObjects(manifestPaths(chosen));
  const progress = new Progress();
  const { client, launched } = await startLab(
    labOptions(`demo-${process.pid}`, chosen, true),
    objects,
    progress,
  );
  try {
    await addExternals(client, options.external);
    progress.step('sending TCP, UDP and SCTP between every pair of pods');
    const { cells } = await client.request('probe', { selection: { services: true } });
    progress.done();
    printMatrix(cells, options.output);
    process.exitCode = cells.length > 0 && cells.every(({ agrees }) => agrees) ? 0 : 1;
  } finally {
    await client.down();
    client.close();
    launched.letGo();
    clearInterval(orphaned);
    progress.done();
  }
  process.stderr.write(`Done in ${((performance.now() - started) / 1000).toFixed(1)} s; the lab is gone.\n`);
}
