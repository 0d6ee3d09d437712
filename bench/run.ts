/** `npm run bench`: see `usage` in bench/settings.ts. bench/run.sh has installed and built what is needed. */
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { contenders } from './contenders/all.js';
import { makeSite } from './contenders/site.js';
import { showEnforcement } from './enforcement.js';
import { listOf } from './list.js';
import { machineOf } from './machine.js';
import { nodeMeasures } from './node/all.js';
import { duration, Progress } from './progress.js';
import { type Findings, reportOf } from './report/json.js';
import { writeReport } from './report/write.js';
import { estimateOf, only, selectionOf } from './selection.js';
import { type Options, optionsOf, usage } from './settings.js';
import { Suite } from './suite.js';
import { workloads } from './workloads/all.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const signals = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;
/** Milliseconds that a run that was ended early has to put everything away. */
const grace = 20_000;

async function measure(options: Options): Promise<number> {
  const { settings } = options;
  const selection = only(selectionOf(settings.scope, nodeMeasures), settings.only);
  if (selection.pairs.length + selection.nodePairs.length === 0) {
    process.stderr.write(`bench: nothing has all words of ${settings.only.join(' or ')}; see --list\n`);
    return 2;
  }
  if (options.list) {
    process.stdout.write(listOf(selection, nodeMeasures, settings));
    return 0;
  }
  if (process.getuid?.() !== 0) {
    process.stderr.write('bench: root is needed: network namespaces and TAPs are made\n');
    return 1;
  }
  const started = new Date();
  const total = estimateOf(selection, nodeMeasures, settings);
  const progress = new Progress(process.stderr, total, () => performance.now());
  const machine = await machineOf(root);
  progress.note(`about ${duration(total)}`);
  if (machine.load > machine.cores / 2 || machine.busy > 15)
    progress.note(
      `this machine is not quiet: load ${machine.load.toFixed(2)}, ${machine.busy.toFixed(0)} % of a core in use; ratios hold better than values`,
    );
  const ending = new AbortController();
  let interrupted: keyof typeof signals | null = null;
  const inventory = { contenders, workloads, nodeMeasures };
  const suite = new Suite(inventory, settings, {
    makeSite,
    show: showEnforcement,
    progress,
    signal: ending.signal,
  });
  for (const signal of Object.keys(signals) as (keyof typeof signals)[]) {
    process.on(signal, () => {
      // The second one does not wait: what stands is ended by the exit itself.
      if (interrupted !== null) process.exit(signals[signal]);
      interrupted = signal;
      progress.note(`${signal}: ends everything`);
      ending.abort();
      setTimeout(() => process.exit(signals[signal]), grace).unref();
      void suite.stop();
    });
  }
  const measured = await suite.run(selection);
  progress.end();
  const used = new Set([...selection.pairs, ...selection.nodePairs].map(({ workload }) => workload));
  const findings: Findings = {
    started: started.toISOString(),
    ended: new Date().toISOString(),
    interrupted,
    machine,
    settings,
    subjects: [...workloads, ...nodeMeasures]
      .filter(({ name }) => used.has(name))
      .map(({ name, description, measures }) => ({ name, description, measures })),
    ...measured,
  };
  const report = reportOf(findings, selection.comparisons);
  const results = join(root, 'bench', 'results');
  const stamp = findings.started.slice(0, 19).replaceAll(':', '-');
  const path = writeReport(report, options.out ?? join(results, stamp), 'report');
  if (options.reference && interrupted === null) writeReport(report, results, 'reference');
  process.stdout.write(summary(report.outcomes, path, findings));
  if (interrupted !== null) return signals[interrupted];
  return report.notRun.length > 0 ? 1 : 0;
}

function summary(
  outcomes: ReturnType<typeof reportOf>['outcomes'],
  path: string,
  findings: Findings,
): string {
  const lines = outcomes.map(({ comparison, verdict, estimate, why }) => {
    const { at, value } = comparison.reach;
    const figures =
      estimate === undefined
        ? (why ?? '')
        : `${estimate.value.toPrecision(3)} (${estimate.low.toPrecision(3)}–${estimate.high.toPrecision(3)})`;
    return `${verdict.padEnd(16)} ${comparison.name}: ${figures}, to reach ${at === 'least' ? '≥' : '≤'} ${value}`;
  });
  const absent = findings.notRun.map(({ what, why }) => `not run          ${what}: ${why.split('\n')[0]}`);
  const seconds = (Date.parse(findings.ended) - Date.parse(findings.started)) / 1000;
  const end = `${duration(seconds)}; report: ${relative(process.cwd(), path) || path}`;
  return `${[...lines, ...absent, end].join('\n')}\n`;
}

const options = optionsOf(process.argv.slice(2));
if (typeof options === 'string') {
  process.stderr.write(`bench: ${options}\n${usage}`);
  process.exitCode = 2;
} else if (options.help) process.stdout.write(usage);
else {
  // Programs that a workload left behind must not keep the run from ending.
  process.exit(await measure(options));
}
