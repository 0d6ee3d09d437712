import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { Argument, Command, Option } from 'commander';
import fc from 'fast-check';
import type { StatusAnswer } from '../../../src/agent/protocol/answers.js';
import type { FlowRecord, PacketRecord } from '../../../src/agent/protocol/events.js';
import { describeVerdict, formatPacket } from '../../../src/cli/commands/capture.js';
import { formatEnd } from '../../../src/cli/commands/conntrack.js';
import { commands } from '../../../src/cli/commands/index.js';
import { formatStatus } from '../../../src/cli/commands/status.js';
import { commandNodes, completionScript } from '../../../src/cli/completion-script.js';
import { formatFlow } from '../../../src/cli/flow-lines.js';
import { summarise } from '../../../src/cli/frame-summary.js';
import {
  formatFacts,
  formatTable,
  parsePodName,
  shortDuration,
  shortNumber,
} from '../../../src/cli/output.js';
import { WeftError } from '../../../src/errors/problem.js';

test('tables: columns two apart, numbers to the right, wide columns only when asked for, no trailing spaces', () => {
  const rows = [
    { name: 'a', count: 5, more: 'x' },
    { name: 'longer', count: 1234, more: '' },
  ];
  const columns = [
    { title: 'NAME', value: (row: (typeof rows)[number]) => row.name },
    { title: 'COUNT', value: (row: (typeof rows)[number]) => row.count },
    { title: 'MORE', value: (row: (typeof rows)[number]) => row.more, wide: true },
  ];
  assert.equal(formatTable(rows, columns), 'NAME    COUNT\na           5\nlonger   1234\n');
  assert.equal(formatTable(rows, columns, true), 'NAME    COUNT  MORE\na           5  x\nlonger   1234\n');
  assert.equal(formatTable([], columns), 'NAME  COUNT\n');
  assert.equal(
    formatFacts([
      ['A', '1'],
      ['Long', '2'],
    ]),
    'A:    1\nLong: 2\n',
  );
});

test('numbers and durations are short', () => {
  const numbers: readonly (readonly [number, string])[] = [
    [0, '0'],
    [9999, '9999'],
    [10_000, '10k'],
    [1_234_567, '1.2M'],
    [45_600_000, '46M'],
    [3.2e9, '3.2G'],
    [2e13, '20T'],
  ];
  for (const [value, text] of numbers) assert.equal(shortNumber(value), text);
  const durations: readonly (readonly [number, string])[] = [
    [0, '0s'],
    [0.4, '0s'],
    [7, '7s'],
    [60, '1m'],
    [310, '5m10s'],
    [3600, '1h'],
    [7440, '2h4m'],
    [273_600, '3d4h'],
  ];
  for (const [value, text] of durations) assert.equal(shortDuration(value), text);
});

test('a pod is named NAMESPACE/POD, or POD in the namespace default', () => {
  assert.deepEqual(parsePodName('web/front.end-1'), { namespace: 'web', name: 'front.end-1' });
  assert.deepEqual(parsePodName('web'), { namespace: 'default', name: 'web' });
  assert.deepEqual(parsePodName('pod/web'), { namespace: 'default', name: 'web' });
  for (const text of ['web/', '/x', 'a/b/c', 'Web/x', 'svc/web', 'node/n', '10.0.0.1', ''])
    assert.throws(
      () => parsePodName(text),
      (error: unknown) => error instanceof WeftError && error.code === 'usage',
    );
});

const pod = { address: '10.0.0.1', port: 80, kind: 'pod' as const, name: 'shop/web' };
const outside = { address: '203.0.113.9', port: 443, kind: 'external' as const, name: '' };

test('ends of flows are shown by name where there is one', () => {
  assert.deepEqual(
    [
      pod,
      { ...pod, port: 0 },
      outside,
      { ...outside, address: '2001:db8::1' },
      { ...outside, address: '2001:db8::1', port: 0 },
      { ...pod, kind: 'service' as const, name: 'shop/db' },
      { ...pod, kind: 'node' as const, name: 'here' },
    ].map(formatEnd),
    [
      'shop/web:80',
      'shop/web',
      '203.0.113.9:443',
      '[2001:db8::1]:443',
      '2001:db8::1',
      'svc/shop/db:80',
      'node/here:80',
    ],
  );
});

test('a flow is one line that says what decided', () => {
  const flow: FlowRecord = {
    time: '2026-01-02T03:04:05.678Z',
    verdict: 'allowed',
    family: 4,
    protocol: 'TCP',
    source: pod,
    destination: outside,
    rules: [{ policy: 'shop/a', direction: 'egress', rule: 2 }],
    isolatedBy: [],
  };
  assert.equal(
    formatFlow(flow),
    '03:04:05.678 ALLOWED TCP shop/web:80 -> 203.0.113.9:443 by egress shop/a[2]',
  );
  assert.equal(
    formatFlow({ ...flow, rules: [] }),
    '03:04:05.678 ALLOWED TCP shop/web:80 -> 203.0.113.9:443 not isolated',
  );
  assert.equal(
    formatFlow({ ...flow, rules: [], exempt: true }),
    '03:04:05.678 ALLOWED TCP shop/web:80 -> 203.0.113.9:443 a pod and its own node',
  );
  assert.equal(
    formatFlow({ ...flow, rules: [], exempt: true, translated: pod }),
    '03:04:05.678 ALLOWED TCP shop/web:80 -> 203.0.113.9:443 (shop/web:80) a pod and itself',
  );
  assert.equal(
    formatFlow({
      ...flow,
      verdict: 'denied',
      reason: 'policy-egress',
      rules: [],
      isolatedBy: ['shop/a', 'shop/b'],
    }),
    '03:04:05.678 DENIED  TCP shop/web:80 -> 203.0.113.9:443 policy-egress (isolated by shop/a, shop/b)',
  );
  assert.equal(
    formatFlow({ ...flow, verdict: 'dropped', reason: 'multicast', rules: [] }, true),
    '2026-01-02T03:04:05.678Z DROPPED TCP shop/web:80 -> 203.0.113.9:443 [10.0.0.1 -> 203.0.113.9] multicast',
  );
});

const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex');
const ethernet = '020000000002 020000000001';
const frames: readonly (readonly [string, string])[] = [
  [
    `${ethernet} 0800 45000028000000004006 0000 0a000001 0a000002 9c40 0050 00000001 00000000 5002 ffff 0000 0000`,
    'TCP 10.0.0.1:40000 > 10.0.0.2:80 [S]',
  ],
  [
    `${ethernet} 8100 0000 0800 4500001c000000004011 0000 0a000001 0a000002 0035 9c40 0008 0000`,
    'UDP 10.0.0.1:53 > 10.0.0.2:40000',
  ],
  [
    `${ethernet} 0800 4500001c000020104011 0000 0a000001 0a000002 00000000`,
    'UDP 10.0.0.1 > 10.0.0.2 (fragment)',
  ],
  [
    `${ethernet} 86dd 60000000 0008 3a 40 fd000000000000000000000000000001 20010db8000000000001000000000002 8000 0000 00000000`,
    'ICMPv6 [fd00::1] > [2001:db8::1:0:0:2] type 128 code 0',
  ],
  [
    `${ethernet} 0806 0001 0800 06 04 0001 020000000001 0a000001 000000000000 a9fe0101`,
    'ARP who has 169.254.1.1, tell 10.0.0.1',
  ],
  [`${ethernet} 88cc 0207`, 'EtherType 0x88cc'],
  ['0200', '2 bytes, no Ethernet header'],
];
for (const [bytes, expected] of frames)
  test(`a captured frame in a line: ${expected}`, () => assert.equal(summarise(hex(bytes)), expected));

test('no bytes whatever make the summary throw', () => {
  const start = fc.constantFrom(
    `${ethernet} 0800 45`,
    `${ethernet} 0800 4f`,
    `${ethernet} 86dd 60`,
    `${ethernet} 0806`,
    `${ethernet} 8100 0001 86dd`,
    '',
  );
  fc.assert(
    fc.property(start, fc.uint8Array({ maxLength: 80 }), (head, rest) => {
      assert.ok(summarise(Buffer.concat([hex(head), rest])).length > 0);
    }),
    { numRuns: 2000, seed: 5 },
  );
});

test('a captured packet says its verdict and rules', () => {
  const packet: PacketRecord = {
    time: '1767323045678000000',
    data: hex(frames[0]![0]).toString('base64'),
    length: 54,
    direction: 'egress',
    verdict: 'allowed',
    rules: [{ policy: 'shop/a', direction: 'egress', rule: 0 }],
  };
  assert.equal(
    formatPacket(packet),
    '03:04:05.678 -> TCP 10.0.0.1:40000 > 10.0.0.2:80 [S] length 54: allowed by egress shop/a[0]',
  );
  assert.equal(
    describeVerdict({ verdict: 'denied', reason: 'policy-ingress', rules: [] }),
    'denied: policy-ingress',
  );
  assert.equal(
    describeVerdict({ verdict: 'allowed', rules: [], answered: true }),
    'allowed (made by the switch)',
  );
});

const answered: StatusAnswer = {
  type: 'status',
  id: 1,
  version: 'x',
  node: 'here',
  pid: 5,
  uptimeSeconds: 61,
  epoch: 3,
  revision: 7,
  acknowledged: 7,
  generation: '9',
  switchConnected: false,
  ready: false,
  sources: [{ name: 'manifests', synced: true, objects: 4, problems: 1 }],
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
  limits: [
    { limit: 'ports', used: 100, most: 110 },
    { limit: 'services', used: 0, most: 10_000 },
  ],
  pending: false,
  unready: 'There is no connection to the switch.',
  problems: [
    { code: 'syntax', severity: 'error', message: 'No.', source: { file: 'a.yaml', line: 3, column: 1 } },
  ],
};

test('status says in its first lines whether the node enforces', () => {
  const status = { ...answered, acknowledged: 6 };
  const text = formatStatus(status, false);
  assert.match(
    text,
    /^Node: {8}here\nReady: {7}no: There is no connection to the switch\.\nAgent: {7}pid 5, up 1m1s, epoch 3\nSwitch: {6}no connection\n/,
  );
  assert.match(text, /revision 6 \(7 is on its way\)/);
  assert.match(text, /error: a\.yaml:3:1: No\.\n$/);
  assert.doesNotMatch(text, /Last compile/);
  assert.match(text, /^Nearly full: ports 100 of 110$/m);
  assert.match(formatStatus(status, true), /Last compile: 1\.3 ms, 70k bytes, 2 in all/);
});

test('status tells of each kind that the API is watched for how old it may be', () => {
  const watch = { lists: 1, failures: 0, garbled: 0, objects: 3 };
  const text = formatStatus(
    {
      ...answered,
      sources: [
        {
          name: 'kubernetes',
          synced: true,
          objects: 3,
          problems: 0,
          watches: [
            { ...watch, resource: 'pods', state: 'watching', secondsSinceContact: 4 },
            { ...watch, resource: 'services', state: 'away', secondsSinceContact: 3700, failures: 7 },
            { ...watch, resource: 'nodes', state: 'listing', secondsSinceContact: null },
          ],
        },
      ],
      pending: true,
    },
    false,
  );
  assert.match(text, /^pods +watching +4s ago +3 +1 +0 +0$/m);
  assert.match(text, /^services +away +1h1m ago +3 +1 +7 +0$/m);
  assert.match(text, /^nodes +listing +never/m);
  assert.match(text, /revision 7 \(changes are gathered for the next\)/);
});

function fullProgram(): Command {
  const program = new Command('weft').version('0').enablePositionalOptions();
  for (const register of commands) register(program);
  return program;
}

test('every command and option has help', () => {
  for (const { path, help, options } of commandNodes(fullProgram())) {
    const name = ['weft', ...path].join(' ');
    if (path.length > 0) assert.match(help, /^[A-Z].*\.$/s, name);
    for (const option of options) assert.ok(option.help.length > 3, `${name} ${option.flags.join(' ')}`);
  }
});

test('completion knows every command that is not hidden, in every shell', () => {
  const program = fullProgram();
  const paths = commandNodes(program).map(({ path }) => path.join(' '));
  assert.ok(paths.includes('lab up') && paths.includes('completion'));
  for (const shell of ['bash', 'zsh', 'fish'] as const) {
    const script = completionScript(program, shell);
    for (const path of paths) assert.ok(script.includes(`'${path}'`) || path === '', `${shell}: ${path}`);
  }
});

const toy = () => {
  const program = new Command('toy');
  const outer = program.command('outer').description('Outer.');
  outer
    .command('inner')
    .description("It's inner.")
    .addArgument(new Argument('<x>').choices(['red', 'green']))
    .addOption(new Option('-f, --format <f>', 'format').choices(['json', 'yaml']))
    .option('--file <file>', 'file');
  program.command('secret', { hidden: true });
  return program;
};
const typed: readonly (readonly [string, readonly string[]])[] = [
  ['toy |', ['outer', '-h', '--help']],
  ['toy ou|', ['outer']],
  ['toy outer |', ['inner', '-h', '--help']],
  ['toy outer inner r|', ['red']],
  ['toy outer inner -f |', ['json', 'yaml']],
  ['toy outer inner --format y|', ['yaml']],
  ['toy outer inner red --f|', ['--format', '--file']],
  ['toy sec|', []],
];
for (const [line, expected] of typed) {
  test(`bash completes "${line}"`, () => {
    const words = line.slice(0, -1).split(' ');
    const script = `${completionScript(toy(), 'bash')}
      cd /nonexistent 2>/dev/null; COMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${words.length - 1}; _toy; printf '%s\\n' "\${COMPREPLY[@]}"`;
    const { stdout, stderr } = spawnSync('bash', ['--norc', '-c', script], { encoding: 'utf8' });
    assert.equal(stderr, '');
    assert.deepEqual(
      stdout.split('\n').filter((word) => word !== ''),
      expected,
    );
  });
}

for (const [shell, check] of [
  ['bash', ['-n']],
  ['zsh', ['-n']],
  ['fish', ['--no-execute']],
] as const) {
  const missing = spawnSync(shell, ['-c', 'true']).error !== undefined;
  test(`${shell} accepts its script`, { skip: missing ? `there is no ${shell} here` : false }, () => {
    const { status, stderr } = spawnSync(shell, [...check, '-c', completionScript(fullProgram(), shell)], {
      encoding: 'utf8',
    });
    assert.equal(status, 0, stderr);
  });
}
