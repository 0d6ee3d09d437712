import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { StatusAnswer } from '../../../src/agent/protocol/answers.js';
import { formatFindings } from '../../../src/cli/commands/doctor.js';
import type { Finding } from '../../../src/cli/doctor/finding.js';
import { readLines } from '../../../src/cli/doctor/preflight.js';
import { runningFindings } from '../../../src/cli/doctor/running.js';
import type { SwitchStatus } from '../../../src/dataplane/protocol/answers.js';
import { fixture } from '../../support/agent-fixture.js';
import { startWeft, weft } from '../../support/weft.js';

const fineSwitch: SwitchStatus = {
  version: '1.0',
  pid: 6,
  uptimeSeconds: 5,
  epoch: 1,
  revision: 4,
  generation: '9',
  imageBytes: 100,
  ports: { live: 3, failed: 0 },
  connections: { used: 10, capacity: 1000 },
  workers: 1,
  udpSegmentation: true,
  supervised: true,
  starts: 1,
  lostEvents: 0,
  trial: 0,
};
const watch = {
  resource: 'pods',
  state: 'watching' as const,
  secondsSinceContact: 3,
  lists: 1,
  failures: 0,
  garbled: 0,
  objects: 4,
};
const source = { name: 'kubernetes', synced: true, objects: 4, problems: 0, watches: [watch] };
type Status = Omit<StatusAnswer, 'type' | 'id'>;
const fine: Status = {
  version: '1.0',
  node: 'here',
  pid: 5,
  uptimeSeconds: 61,
  epoch: 3,
  revision: 4,
  acknowledged: 4,
  generation: '9',
  switchConnected: true,
  ready: true,
  sources: [source],
  counts: {
    namespaces: 1,
    pods: 2,
    localPods: 1,
    policies: 1,
    services: 0,
    identities: 2,
    classes: 3,
    programs: 1,
    ports: 1,
  },
  compile: { count: 2, lastMilliseconds: 1.25, imageBytes: 70_000 },
  addresses: [{ cidr: '10.42.0.0/24', used: 1, total: '253' }],
  limits: [{ limit: 'ports', used: 1, most: 110 }],
  pending: false,
  problems: [],
  switch: fineSwitch,
};

const found = (status: Status, version = '1.0') =>
  runningFindings(status, version)
    .filter(({ level }) => level !== 'ok')
    .map(({ level, check, seen }) => `${level} ${check} ${seen}`);

test('a node that is well has nothing but ok, and every finding that is not has a remedy', () => {
  assert.deepEqual(found(fine), []);
  assert.ok(runningFindings(fine, '1.0').length > 9);
});

const without = ({ switch: _, ...rest }: Status): Status => rest;
const ailments: readonly (readonly [string, Status, RegExp])[] = [
  ['no switch', { ...without(fine), switchConnected: false }, /^error switch the agent has no connection/],
  ['a silent switch', without(fine), /^error switch it is connected and does not answer/],
  [
    'another version of the switch',
    { ...fine, switch: { ...fineSwitch, version: '0.9' } },
    /^warning versions .*switch 0\.9/,
  ],
  [
    'a source that has not synced',
    { ...fine, sources: [{ ...source, synced: false }] },
    /^error source-kubernetes it has not told everything/,
  ],
  [
    'a watch that is away',
    { ...fine, sources: [{ ...source, watches: [{ ...watch, state: 'away', secondsSinceContact: 120 }] }] },
    /^warning source-kubernetes pods heard 2m ago/,
  ],
  [
    'a watch that hears nothing',
    { ...fine, sources: [{ ...source, watches: [{ ...watch, secondsSinceContact: 4000 }] }] },
    /^warning source-kubernetes pods heard 1h6m ago/,
  ],
  ['a refused image', { ...fine, imageError: 'damaged' }, /^error state .*damaged/],
  ['not ready', { ...fine, ready: false, unready: 'because' }, /^error state because/],
  ['a revision on its way', { ...fine, revision: 5 }, /^warning state revision 5 is on its way, 4 in force/],
  [
    'an agent whose scheduling was refused',
    { ...fine, scheduleRefused: ['sched_setattr of SCHED_RR failed'] },
    /^warning scheduling agent: sched_setattr/,
  ],
  [
    'a switch whose scheduling was refused',
    { ...fine, switch: { ...fineSwitch, scheduleRefused: ['setpriority(-10) failed (EPERM)'] } },
    /^warning scheduling switch: setpriority/,
  ],
  [
    'failed ports',
    { ...fine, switch: { ...fineSwitch, ports: { live: 2, failed: 1 } } },
    /^error ports 1 of 3 are not up/,
  ],
  [
    'a limit that is near',
    { ...fine, limits: [{ limit: 'ports', used: 90, most: 110 }] },
    /^warning limits ports: 90/,
  ],
  [
    'a limit that is reached',
    { ...fine, limits: [{ limit: 'ports', used: 110, most: 110 }] },
    /^error limits .*nothing new/,
  ],
  ['no addresses', { ...fine, addresses: [] }, /^warning addresses there is no pod CIDR/],
  [
    'all addresses used',
    { ...fine, addresses: [{ cidr: '10.42.0.0/30', used: 1, total: '1' }] },
    /^error addresses 10\.42\.0\.0\/30: 1 of 1/,
  ],
  ['no supervisor', { ...fine, switch: { ...fineSwitch, supervised: false } }, /^warning supervisor/],
  [
    'a problem of a source',
    { ...fine, problems: [{ code: 'access-denied', severity: 'error', message: 'No.', fix: 'Do this.' }] },
    /^error problem access-denied: No\./,
  ],
];
for (const [what, status, expected] of ailments) {
  test(`the doctor finds ${what}, and nothing else`, () => {
    const findings = runningFindings(status, '1.0').filter(({ level }) => level !== 'ok');
    assert.match(found(status)[0] ?? '', expected);
    for (const { remedy } of findings) assert.ok((remedy ?? '').length > 5);
    // Without a switch, what only it knows is not known either.
    assert.ok(findings.length <= (status.switch === undefined ? 2 : 1), found(status).join('\n'));
  });
}

test('errors come first, what is well is counted, and lines of the script that make no sense are none', () => {
  const findings: Finding[] = [
    { level: 'ok', check: 'a', seen: 'fine' },
    { level: 'warning', check: 'b', seen: 'so so', remedy: 'rest' },
    { level: 'error', check: 'c', seen: 'bad', remedy: 'act' },
  ];
  assert.equal(
    formatFindings(findings, false),
    'ERROR   c: bad\n        remedy: act\nWARNING b: so so\n        remedy: rest\n1 error, 1 warning, 1 ok\n',
  );
  assert.match(formatFindings(findings, true), /^OK {6}a: fine$/m);
  assert.deepEqual(readLines('ok\ta\tfine\t\nnonsense\nerror\tc\tbad\tact\n'), [findings[0], findings[2]]);
});

test('weft doctor: the host, then agent and switch; exit status 1 with an error; a broken configuration is a finding', async (t) => {
  const f = fixture(t);
  await f.startSwitch();
  await f.startAgent();
  // Not spawnSync: the agent lives in this process.
  const run = startWeft(['doctor', '--json', '--run-dir', f.run, '--root', f.run]);
  let text = '';
  run.stdout!.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  const status = await new Promise((resolve) => run.once('close', resolve));
  const findings = JSON.parse(text) as Finding[];
  const level = (check: string) => findings.find((finding) => finding.check === check)?.level;
  // An empty folder is no host; the agent in it is well, and of a version of its own.
  assert.deepEqual(
    [level('configuration'), level('kernel'), level('agent'), level('switch'), level('versions'), status],
    ['ok', 'error', 'ok', 'ok', 'warning', 1],
  );
  const file = join(f.run, 'broken.yaml');
  writeFileSync(file, 'agent: { tikc: 5ms }\n');
  const broken = weft(['doctor', '--preflight', '--config', file]);
  assert.match(broken.stdout, /^ERROR {3}configuration: .*\n {8}.*tikc/m);
  assert.equal(broken.status, 1);
  const away = weft(['doctor', '--run-dir', join(f.run, 'nobody')]);
  assert.match(away.stdout, /^ERROR {3}agent: No agent answers/m);
});
