import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { busyShare, machineOf } from '../../../bench/machine.js';
import type { Comparison } from '../../../bench/plan.js';
import { chartOf, gridOf } from '../../../bench/report/chart.js';
import { bounds, digits, figure } from '../../../bench/report/figure.js';
import { type Findings, type Report, reportOf } from '../../../bench/report/json.js';
import { markdownOf } from '../../../bench/report/markdown.js';
import { jsonText, writeReport } from '../../../bench/report/write.js';
import { repositoryRoot } from '../../support/repository.js';

const rates: Readonly<Record<string, readonly number[]>> = {
  limit: [9, 400_000, 410_000, 405_000],
  'weft-10000': [9, 380_000, 390_000, 370_000],
};

const findings: Findings = {
  started: '2026-01-02T03:04:05.000Z',
  ended: '2026-01-02T03:14:05.000Z',
  interrupted: null,
  machine: {
    cpu: 'A board <of sorts>',
    cores: 4,
    virtual: true,
    memoryMB: 4096,
    architecture: 'arm64',
    kernel: '6.6.1',
    system: null,
    governor: 'performance',
    load: 0.05,
    busy: 1,
    versions: { node: 'v20', valgrind: null },
    commit: 'abc',
  },
  settings: { scope: 'full', only: [], rounds: 3, seconds: 1, warmUpSeconds: 0.5 },
  contenders: [
    { name: 'limit', description: '', policies: 0, enforcement: 'no policies', took: 0.2, notRun: null },
    { name: 'weft-10000', description: '', policies: 10_000, enforcement: 'denied', took: 12, notRun: null },
    { name: 'ovs', description: '', policies: 0, enforcement: null, took: null, notRun: 'no a|b\nhere' },
  ],
  subjects: [
    {
      name: 'udp-window',
      description: 'Small & many.',
      measures: [{ name: 'rate', unit: 'packets/s', better: 'higher' }],
    },
    { name: 'unused', description: 'Never run.', measures: [{ name: 'p50', unit: 'us', better: 'lower' }] },
  ],
  standing: 0.7,
  notRun: [{ what: 'ovs', why: 'no a|b\nhere' }],
  samples: [
    ...Object.entries(rates).flatMap(([contender, values]) =>
      values.map((rate, round) => ({
        contender,
        workload: 'udp-window',
        round,
        at: '2026-01-02T03:04:06.000Z',
        took: 1.2,
        attempts: 1,
        stolen: round * 2,
        values: { rate },
      })),
    ),
    {
      contender: 'limit',
      workload: 'udp-window',
      round: 4,
      at: '2026-01-02T03:05:06.000Z',
      took: 1,
      attempts: 2,
      stolen: 0,
      failed: 'no answer',
    },
  ],
};

const compared = (of: string, peer: string, value: number): Comparison => ({
  name: `udp-window.rate ${of}/${peer}`,
  subject: { of, workload: 'udp-window', measure: 'rate' },
  peer: { of: peer, workload: 'udp-window', measure: 'rate' },
  reach: { at: 'least', value },
});
const report: Report = reportOf(findings, [
  compared('weft-10000', 'limit', 0.9),
  compared('weft-10000', 'limit', 0.951),
  compared('weft-10000', 'limit', 2),
  compared('weft-10000', 'ovs', 2.2),
]);

test('figures have three significant digits and a unit that fits', () => {
  for (const [value, text] of [
    [0, '0.00'],
    [0.000123, '0.000123'],
    [0.09876, '0.0988'],
    [0.9996, '1.00'],
    [1.005, '1.00'],
    [9.996, '10.0'],
    [12.34, '12.3'],
    [99.96, '100'],
    [1234.5, '1,235'],
    [-12.34, '-12.3'],
  ] as const)
    assert.equal(digits(value), text);
  for (const [value, unit, text] of [
    [540_123, 'packets/s', '540 k packets/s'],
    [1_540_123, 'packets/s', '1.54 M packets/s'],
    [9_999, 'packets/s', '9,999 packets/s'],
    [28.14, 'Gbit/s', '28.1 Gbit/s'],
    [18.2, 'us', '18.2 µs'],
    [2500, 'us', '2.50 ms'],
    [0.31, '% of a core', '0.310 % of a core'],
    [127, 'MB', '127 MB'],
  ] as const)
    assert.equal(figure(value, unit), text);
  assert.equal(bounds({ value: 10_500, low: 9_500, high: 11_000, count: 5 }, 'packets/s'), '9.50–11.0');
});

test('the report judges what was found', () => {
  assert.deepEqual(
    report.outcomes.map(({ verdict }) => verdict),
    ['met', 'met', 'not met', 'no verdict'].map((verdict, i) => (i === 1 ? 'met by interval' : verdict)),
  );
  assert.deepEqual(
    report.summaries.map(({ of, measure, unit, estimate }) => [
      of,
      measure,
      unit,
      estimate.value,
      estimate.count,
    ]),
    [
      ['limit', 'rate', 'packets/s', 405_000, 3],
      ['weft-10000', 'rate', 'packets/s', 380_000, 3],
    ],
  );
});

test('Markdown has the comparisons, the medians, the enforcement, and what was not run', () => {
  const text = markdownOf(report, new Map([['udp-window', 'report-udp-window.svg']]));
  for (const line of [
    '1 met, 1 met by the interval only, 1 not met, 1 without a verdict.',
    '| udp-window rate | weft-10000 | limit | 0.950 (0.914–0.951, 3) | ≥ 0.9 | met |',
    '| udp-window rate | weft-10000 | limit | 0.950 (0.914–0.951, 3) | ≥ 2 | not met |',
    '| udp-window rate | weft-10000 | ovs |  | ≥ 2.2 | no verdict: ovs on udp-window: no a\\|b here |',
    '| weft-10000 | 380 k packets/s (370–390) |',
    '![udp-window](report-udp-window.svg)',
    '| weft-10000 | 10000 | a denied port did not answer, an allowed one did | 12.0 s |',
    '| ovs | no a\\|b here |',
    '| limit | udp-window | 4 | 2 | no answer |',
    'weft abc',
    'valgrind: not there',
    'The hypervisor took 4.00 % of a core during the median sample, 6.00 % during the worst.',
  ])
    assert.ok(text.includes(line), `${line}\nis not in\n${text}`);
  assert.ok(!text.includes('unused'), 'nothing is said of what was not measured and not asked for');
  for (const row of text.split('\n').filter((line) => line.startsWith('|')))
    assert.match(row, /^\|( [^\n]*)? \|$/, 'a row is one line');
});

test('everything that ran is said too', () => {
  const text = markdownOf(reportOf({ ...findings, notRun: [], interrupted: 'SIGINT' }, []));
  assert.ok(text.includes('Everything that was asked for ran.'));
  assert.ok(text.includes('ended early by SIGINT'));
});

test('JSON has every sample on a line of its own and reads back as it was', () => {
  const text = jsonText(report);
  assert.deepEqual(JSON.parse(text), JSON.parse(JSON.stringify(report)));
  for (const sample of report.samples)
    assert.ok(text.split('\n').some((line) => line.includes(JSON.stringify(sample))));
});

test('a chart is well-formed, has a bar and a whisker for each contender, and follows the reader’s colours', () => {
  const [subject] = report.subjects;
  assert.ok(subject !== undefined);
  const svg = chartOf(subject, report);
  assert.ok(svg !== null);
  assert.equal(svg.match(/<rect class="(weft|limit|other)"/g)?.length, 2);
  assert.equal(svg.match(/class="whisker"/g)?.length, 2);
  assert.ok(svg.includes('prefers-color-scheme: dark'));
  assert.ok(svg.includes('Small &amp; many.'));
  assert.ok(!/NaN|undefined|Infinity/.test(svg));
  // Every element that is opened is closed, in order.
  const open: string[] = [];
  for (const [, closing, name, self] of svg.matchAll(/<(\/?)([a-z]+)[^>]*?(\/?)>/g)) {
    if (closing) assert.equal(open.pop(), name);
    else if (!self) open.push(name as string);
  }
  assert.deepEqual(open, []);
  assert.equal(chartOf(report.subjects[1] as (typeof report.subjects)[number], report), null);
  const widths = [...svg.matchAll(/<rect class="(?:weft|limit)"[^>]*? width="([\d.]+)"/g)].map(([, w]) =>
    Number(w),
  );
  assert.ok(
    Math.abs((widths[0] ?? 0) / (widths[1] ?? 1) - 405 / 380) < 0.01,
    'bars are as long as their values',
  );
});

test('nothing below zero is drawn to the left of zero', () => {
  const [subject] = report.subjects;
  const negative = {
    ...report,
    summaries: report.summaries.map((s) => ({ ...s, estimate: { value: -1, low: -2, high: 1, count: 3 } })),
  };
  const svg = chartOf(subject as (typeof report.subjects)[number], negative) ?? '';
  assert.ok(!/(width|x)="-/.test(svg), svg);
});

test('grid lines are at round numbers', () => {
  assert.deepEqual(gridOf(10), [0, 2, 4, 6, 8, 10]);
  assert.deepEqual(gridOf(336_000), [0, 100_000, 200_000, 300_000]);
  assert.deepEqual(gridOf(0), [0]);
});

test('a report replaces the charts of the one before it under the same name, and no other file', () => {
  const folder = mkdtempSync(join(tmpdir(), 'weft-bench-report-'));
  try {
    for (const old of ['reference-gone.svg', 'other.svg', 'reference.txt'])
      writeFileSync(join(folder, old), 'old');
    const path = writeReport(report, folder, 'reference');
    assert.deepEqual(readdirSync(folder).sort(), [
      'other.svg',
      'reference-udp-window.svg',
      'reference.json',
      'reference.md',
      'reference.txt',
    ]);
    assert.ok(readFileSync(path, 'utf8').includes('](reference-udp-window.svg)'));
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('the machine is described by what can be read', async () => {
  const machine = await machineOf(repositoryRoot);
  assert.ok(machine.cores >= 1 && machine.memoryMB > 0 && machine.kernel !== '' && machine.cpu !== '');
  assert.equal(machine.versions['node'], process.version);
  const share = await busyShare(20);
  assert.ok(share >= 0 && share <= machine.cores * 100 + 100, String(share));
});
