/** The plan, the things that it names, the README and the set-up agree. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { contenders } from '../../../bench/contenders/all.js';
import { planTable } from '../../../bench/list.js';
import { nodeMeasures } from '../../../bench/node/all.js';
import { comparisons, groupOf, nodeRows, type Quantity, rows } from '../../../bench/plan.js';
import { reachText } from '../../../bench/report/markdown.js';
import { estimateOf, groupsOf, only, selectionOf } from '../../../bench/selection.js';
import { paces } from '../../../bench/settings.js';
import { workloads } from '../../../bench/workloads/all.js';
import { repositoryRoot } from '../../support/repository.js';

const read = (path: string): string => readFileSync(join(repositoryRoot, path), 'utf8');
const scopes = ['quick', 'full'] as const;

test('every contender and workload has a name of its own, and every one is in the plan', () => {
  for (const names of [
    contenders.map(({ name }) => name),
    [...workloads, ...nodeMeasures].map(({ name }) => name),
    comparisons.map(({ name }) => name),
    rows.map(({ workload }) => workload),
  ])
    assert.equal(new Set(names).size, names.length, `twice in ${names}`);
  const planned = new Set(rows.flatMap(({ quick, full }) => [...quick, ...full]));
  assert.deepEqual(
    contenders.map(({ name }) => name).filter((name) => !planned.has(name)),
    [],
    'contenders that nothing runs',
  );
  const run = new Set([...rows, ...nodeRows].map(({ workload }) => workload));
  assert.deepEqual(
    [...workloads, ...nodeMeasures].map(({ name }) => name).filter((name) => !run.has(name)),
    [],
    'workloads and node measures that nothing runs',
  );
});

test('everything that the plan runs exists', () => {
  const known = new Set(contenders.map(({ name }) => name));
  const missing = rows.flatMap(({ quick, full }) => [...quick, ...full]).filter((name) => !known.has(name));
  assert.deepEqual([...new Set(missing)], [], 'contenders');
  const traffic = new Set(workloads.map(({ name }) => name));
  assert.deepEqual(
    rows.map(({ workload }) => workload).filter((name) => !traffic.has(name)),
    [],
    'workloads',
  );
  const measures = new Set(nodeMeasures.map(({ name }) => name));
  assert.deepEqual(
    nodeRows.map(({ workload }) => workload).filter((name) => !measures.has(name)),
    [],
    'node measures',
  );
});

test('full runs all that quick runs', () => {
  for (const { workload, quick, full } of rows)
    assert.deepEqual(
      quick.filter((name) => !full.includes(name)),
      [],
      workload,
    );
});

test('both sides of every comparison are measured in full, by a measure that there is', () => {
  const { pairs, nodePairs } = selectionOf('full', nodeMeasures);
  const measured = new Set([...pairs, ...nodePairs].map(({ of, workload }) => `${of}/${workload}`));
  const wrong: string[] = [];
  const look = (name: string, { of, workload, measure }: Quantity) => {
    if (!measured.has(`${of}/${workload}`)) wrong.push(`${name}: ${of} does not run ${workload}`);
    const found = [...workloads, ...nodeMeasures].find((other) => other.name === workload);
    if (!found?.measures.some((other) => other.name === measure))
      wrong.push(`${name}: ${workload} does not measure ${measure}`);
  };
  for (const { name, subject, peer } of comparisons) {
    look(name, subject);
    if (peer !== null) look(name, peer);
  }
  assert.deepEqual(wrong, []);
});

test('what is better and what is to be reached point the same way', () => {
  for (const { name, subject, reach } of comparisons) {
    const found = [...workloads, ...nodeMeasures].find((other) => other.name === subject.workload);
    const better = found?.measures.find((other) => other.name === subject.measure)?.better;
    assert.equal(reach.at, better === 'higher' ? 'least' : 'most', name);
  }
});

test('the two sides of a comparison take their turns in one group', () => {
  for (const { name, subject, peer } of comparisons)
    if (peer !== null) assert.equal(groupOf(subject.workload), groupOf(peer.workload), name);
  const grouped = groupsOf(selectionOf('full', nodeMeasures).pairs);
  for (const group of grouped) assert.equal(new Set(group.map(({ workload }) => groupOf(workload))).size, 1);
});

test('the figures to reach are those of the suite', () => {
  const rowsOfTable: readonly (readonly [string, string])[] = [
    ['tcp-bulk-1.rate weft-10000/limit', '≥ 0.95'],
    ['tcp-bulk-8.rate weft-10000/limit', '≥ 0.95'],
    ['udp-window.rate weft-10000/limit-coalescing', '≥ 0.9'],
    ['udp-window.rate weft-10000/veth-bridge', '≥ 1.7'],
    ['udp-window.rate weft-10000/kube-router-10000', '≥ 4'],
    ['udp-window.rate weft-10000/ovs-tso', '≥ 2.2'],
    ['tcp-rr.p50 weft-10000/limit', '≤ 1.1'],
    ['tcp-rr.p99 weft-10000/limit', '≤ 1.25'],
    ['udp-rr.p50 weft-10000/limit', '≤ 1.1'],
    ['udp-rr.p99 weft-10000/limit', '≤ 1.25'],
    ['tcp-rr.p50 weft-10000-polling/limit', '≤ 0.75'],
    ['udp-rr.p50 weft-10000-polling/limit', '≤ 0.75'],
    ['connect.rate weft-10000/limit', '≥ 0.9'],
    ['connect.rate weft-10000/kube-router-10000', '≥ 1'],
    ['connect.rate weft-10000/ovs-stateful-1000', '≥ 1.25'],
    ['connect.rate weft-10000/ovs-tso-stateful-1000', '≥ 1.25'],
    ['micro-packet.instructions weft-10000-service/weft-10000', '≤ 1.03'],
    ['tcp-bulk-service/tcp-bulk-1.rate weft-10000', '≥ 1'],
    ['connect-service/connect.rate weft-10000', '≥ 1'],
    ['tcp-rr-service/tcp-rr.rate weft-10000', '≥ 1'],
    ['tcp-bulk-1.rate weft-10000/ovs-tso-stateful-1000', '≥ 1.1'],
    ['tcp-bulk-8.rate weft-10000/ovs-tso-stateful-1000', '≥ 1.1'],
    ['tcp-bulk-1.rate weft-10000/ovs', '≥ 6'],
    ['tcp-bulk-8.rate weft-10000/ovs', '≥ 6'],
    ['flows-100000.rate weft-10000/limit', '≥ 0.85'],
    ...['', '-prompt', '-fifo'].flatMap((scheduling): (readonly [string, string])[] => [
      [`busy-tcp-bulk.rate weft-10000${scheduling}/veth-bridge`, '≥ 0.7'],
      [`busy-tcp-rr.p99 weft-10000${scheduling}/veth-bridge`, '≤ 3'],
      [`busy-besteffort-tcp-rr.p99 weft-10000${scheduling}/veth-bridge`, '≤ 3'],
    ]),
    ['policy-change.p99 weft-1000', '≤ 20.0 ms'],
    ['policy-change.p99 weft-1000/kube-router-1000', '≤ 0.1'],
    ['micro-verdict.instructions large/small', '≤ 3'],
    ['idle-100.cpu weft', '≤ 0.500 % of a core'],
    ['memory-100-pods.pss weft', '≤ 130 MB'],
    ['micro-packet.instructions weft-10000/weft-0', '≤ 1.02'],
    // Every workload with 10,000 policies against none.
    ...rows.map(({ workload }): readonly [string, string] =>
      workload.endsWith('-fixed')
        ? [`${workload}.cpu weft-10000/weft-0`, '≤ 1.02']
        : [`${workload}.rate weft-10000/weft-0`, '≥ 0.98'],
    ),
  ];
  const units: Readonly<Record<string, string>> = { p99: 'ms', cpu: '% of a core', pss: 'MB' };
  assert.deepEqual(
    comparisons
      .map((comparison) => [comparison.name, reachText(comparison, units[comparison.subject.measure] ?? '')])
      .sort(),
    rowsOfTable.map((row) => [...row]).sort(),
  );
});

test('the table of bench/README.md is the plan', () => {
  assert.ok(
    read('bench/README.md').includes(planTable(nodeMeasures)),
    `bench/README.md should have this table:\n${planTable(nodeMeasures)}`,
  );
});

test('bench/README.md has a line on every contender, workload and node measure, in its own words', () => {
  const text = read('bench/README.md');
  const lacks = [...contenders, ...workloads, ...nodeMeasures].filter(
    ({ name }) => !text.includes(`\`${name}\``),
  );
  assert.deepEqual(
    lacks.map(({ name }) => name),
    [],
  );
});

test('deploy/setup.sh --for bench installs every package that something needs', () => {
  const installed = /^packages=\((.*)\)$/m.exec(read('deploy/setup.sh'))?.[1]?.split(' ') ?? [];
  const optional = [...read('deploy/setup.sh').matchAll(/^\s*optional=\((.+)\)$/gm)].flatMap(
    ([, names]) => names?.split(' ') ?? [],
  );
  assert.ok(installed.length > 0 && optional.length > 0);
  const needed = [...contenders, ...nodeMeasures].flatMap(({ packages }) => packages);
  assert.deepEqual(
    [...new Set(needed)].filter((name) => ![...installed, ...optional].includes(name)),
    [],
  );
});

test('quick is estimated at less than three minutes, full at less than fifty', () => {
  for (const [scope, minutes] of [
    ['quick', 3],
    ['full', 50],
  ] as const) {
    const seconds = estimateOf(selectionOf(scope, nodeMeasures), nodeMeasures, paces[scope]);
    assert.ok(seconds < minutes * 60, `${scope}: ${Math.round(seconds)} s`);
    assert.ok(paces[scope].rounds >= 5, scope);
  }
});

test('only: all words of one text, and the pairs that a comparison needs', () => {
  const everything = selectionOf('full', nodeMeasures);
  const names = (texts: readonly string[]) => {
    const { pairs, nodePairs } = only(everything, texts);
    return [...pairs, ...nodePairs].map(({ of, workload }) => `${of}/${workload}`).sort();
  };
  assert.deepEqual(only(everything, []), everything);
  assert.deepEqual(names(['weft-10000/limit-coalescing']), [
    'limit-coalescing/udp-window',
    'weft-10000/udp-window',
  ]);
  assert.deepEqual(names(['calico-10/udp-window', 'calico-10/connect']), [
    'calico-10/connect',
    'calico-10/udp-window',
  ]);
  assert.ok(names(['busy']).every((name) => name.includes('/busy-')));
  assert.deepEqual(names(['busy ovs']), []);
  assert.deepEqual(names(['memory-100-pods']), ['weft/memory-100-pods']);
  assert.deepEqual(names(['no such thing']), []);
  const chosen = only(everything, ['tcp-bulk-service/tcp-bulk-1']);
  assert.deepEqual(
    chosen.pairs.map(({ of, workload }) => `${of}/${workload}`),
    ['weft-10000/tcp-bulk-1', 'weft-10000/tcp-bulk-service'],
  );
  assert.ok(chosen.comparisons.some(({ name }) => name === 'tcp-bulk-service/tcp-bulk-1.rate weft-10000'));
});

test('a scope never has a pair twice, and quick has only comparisons that it can make', () => {
  for (const scope of scopes) {
    const { pairs, nodePairs, comparisons: chosen } = selectionOf(scope, nodeMeasures);
    const keys = [...pairs, ...nodePairs].map(({ of, workload }) => `${of}/${workload}`);
    assert.equal(new Set(keys).size, keys.length);
    for (const { name, subject, peer } of chosen)
      for (const side of peer === null ? [subject] : [subject, peer])
        assert.ok(keys.includes(`${side.of}/${side.workload}`), `${scope}: ${name}`);
  }
});
