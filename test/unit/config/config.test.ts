import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { changeConfig, loadConfig, optionValue } from '../../../src/config/load.js';
import { formatDuration, parseDuration } from '../../../src/config/option.js';
import {
  defaultConfig,
  eachOption,
  formatProblem,
  overrideConfig,
  parseConfig,
} from '../../../src/config/parse.js';
import { renderDefaultConfig } from '../../../src/config/render.js';
import { WeftError } from '../../../src/errors/problem.js';
import { repositoryRoot } from '../../support/repository.js';

test('config/default.yaml is what the option table says', () => {
  const file = readFileSync(join(repositoryRoot, 'config/default.yaml'), 'utf8');
  assert.equal(file, renderDefaultConfig(), 'run `npm run generate` and commit the result');
});

test('config/default.yaml parses to the defaults, each option stands in it, and none is without a help sentence', () => {
  const text = renderDefaultConfig();
  const parsed = parseConfig(text, 'default.yaml');
  assert.deepEqual(parsed.problems, []);
  assert.deepEqual(parsed.config, defaultConfig());
  for (const [path, option] of eachOption()) {
    assert.match(option.help, /^[A-Z`].*\.$/s, path);
    const name = path.split('.').at(-1);
    assert.match(text, new RegExp(`^ *${name}: `, 'm'), path);
  }
});

for (const name of readdirSync(join(repositoryRoot, 'config/profiles'))) {
  test(`the profile ${name} is valid and changes something`, () => {
    const text = readFileSync(join(repositoryRoot, 'config/profiles', name), 'utf8');
    const { config, problems } = parseConfig(text, name);
    assert.deepEqual(problems, []);
    assert.notDeepEqual(config, defaultConfig());
  });
}

test('an empty text, a comment and empty sections are the defaults', () => {
  for (const text of ['', '# nothing\n', '---\n', 'switch:\n', 'switch: { drain: }\n'])
    assert.deepEqual(parseConfig(text, 'x').config, defaultConfig(), JSON.stringify(text));
});

test('cores are numbers, with or without quotes', () => {
  for (const text of ['switch: { cores: [0, 12] }', 'switch: { cores: ["0", "12"] }']) {
    const { config, problems } = parseConfig(text, 'x');
    assert.deepEqual(problems, [], text);
    assert.deepEqual(config?.switch.cores, ['0', '12'], text);
  }
});

const wrong: readonly {
  readonly what: string;
  readonly text: string;
  readonly code: string;
  readonly at: string;
  readonly says: RegExp;
}[] = [
  {
    what: 'a misspelt option names the right one',
    text: 'switch:\n  workrs: 2\n',
    code: 'config-unknown-key',
    at: 'x:2:3',
    says: /no option workrs in switch.*Did you mean workers\?/,
  },
  {
    what: 'a misspelt section names the right one',
    text: 'telemtry: { port: 1 }\n',
    code: 'config-unknown-key',
    at: 'x:1:1',
    says: /Did you mean telemetry\?/,
  },
  {
    what: 'an option in the wrong section says where it belongs',
    text: 'switch:\n  denyAction: {}\n',
    code: 'config-unknown-key',
    at: 'x:2:3',
    says: /Known here|There is policy/,
  },
  {
    what: 'a number out of range names the range and the unit',
    text: 'network:\n  mtu: 100\n',
    code: 'config-range',
    at: 'x:2:8',
    says: /network\.mtu: found 100\. Allowed: a whole number of bytes from 1280 to 65521\./,
  },
  {
    what: 'text for a number',
    text: 'network: { mtu: big }\n',
    code: 'config-type',
    at: 'x:1:17',
    says: /found "big"/,
  },
  {
    what: 'a fraction for a whole number',
    text: 'network: { mtu: 1500.5 }\n',
    code: 'config-type',
    at: 'x:1:17',
    says: /whole number/,
  },
  {
    what: 'a duration without its unit',
    text: 'agent:\n  tick: 10\n',
    code: 'config-type',
    at: 'x:2:9',
    says: /a duration from 0 to 10s/,
  },
  {
    what: 'a duration beyond its bound',
    text: 'agent:\n  tick: 11s\n',
    code: 'config-range',
    at: 'x:2:9',
    says: /10s/,
  },
  {
    what: 'a choice that is none',
    text: 'policy: { ownNodeEgress: deny }\n',
    code: 'config-value',
    at: 'x:1:26',
    says: /Allowed: allow, judge\./,
  },
  {
    what: 'a list that is none',
    text: 'network: { podCIDRs: 10.0.0.0/24 }\n',
    code: 'config-type',
    at: 'x:1:22',
    says: /has to be a list/,
  },
  {
    what: 'a CIDR that is none, by its index',
    text: 'network:\n  podCIDRs:\n  - 10.42.0.0/24\n  - fd00::/200\n',
    code: 'config-value',
    at: 'x:4:5',
    says: /podCIDRs\[1\].*at most 128/,
  },
  {
    what: 'a core that is none',
    text: 'switch: { cores: [-1] }\n',
    code: 'config-value',
    at: 'x:1:19',
    says: /cores\[0\]: found -1; it has to be a number as in/,
  },
  {
    what: 'two CIDRs of one family',
    text: 'network: { podCIDRs: [10.0.0.0/24, 10.1.0.0/24] }\n',
    code: 'config-value',
    at: 'x:1:22',
    says: /2 IPv4 CIDRs/,
  },
  {
    what: 'a section that is a value',
    text: 'switch: 3\n',
    code: 'config-type',
    at: 'x:1:9',
    says: /switch has to be a section/,
  },
  {
    what: 'a file that is a list',
    text: '- a\n',
    code: 'config-type',
    at: 'x:1:1',
    says: /The file has to be a section/,
  },
  {
    what: 'an option given twice',
    text: 'switch: {}\nswitch: {}\n',
    code: 'config-duplicate-key',
    at: 'x:2:1',
    says: /twice/,
  },
  {
    what: 'a boolean as YAML 1.1 wrote it',
    text: 'telemetry: { enabled: yes }\n',
    code: 'config-type',
    at: 'x:1:23',
    says: /true or false/,
  },
  {
    what: 'a relative run directory',
    text: 'paths: { run: run/weft }\n',
    code: 'config-value',
    at: 'x:1:15',
    says: /absolute path/,
  },
  {
    what: 'broken YAML',
    text: 'switch: {\n',
    code: 'config-syntax',
    at: 'x:2:1',
    says: /./,
  },
  {
    what: 'an alias',
    text: 'network: { mtu: &a 1500 }\npaths: { run: *a }\n',
    code: 'config-type',
    at: 'x:2:15',
    says: /alias/,
  },
];
for (const { what, text, code, at, says } of wrong) {
  test(`configuration: ${what}`, () => {
    const { config, problems } = parseConfig(text, 'x');
    assert.equal(config, null);
    const problem = problems[0]!;
    const shown = formatProblem(problem, text);
    assert.equal(problem.code, code, shown);
    assert.ok(shown.startsWith(`${at}: `), shown);
    assert.match(shown, says);
  });
}

test('all problems of a file are found at once, each with a caret under it', () => {
  const text = 'switch:\n  workrs: 2\nnetwork:\n  mtu: 1\n';
  const { problems } = parseConfig(text, 'x');
  assert.equal(problems.length, 2);
  assert.ok(formatProblem(problems[0]!, text).endsWith('2 |   workrs: 2\n  |   ^^^^^^'));
  assert.ok(formatProblem(problems[1]!, text).endsWith('4 |   mtu: 1\n  |        ^'));
});

test('the configuration is frozen to its leaves and shares nothing with the table', () => {
  const config = defaultConfig();
  for (const [path] of eachOption()) {
    const parts = path.split('.');
    const parent = optionValue(config, parts.slice(0, -1).join('.')) as object;
    assert.ok(Object.isFrozen(parent), path);
  }
  assert.throws(() => (config.network.podCIDRs as string[]).push('x'));
  assert.notEqual(defaultConfig().network.podCIDRs, config.network.podCIDRs);
});

test('a reload takes live options over, leaves the others and names both', () => {
  const before = defaultConfig();
  const next = overrideConfig(before, {
    policy: { denyAction: { ingress: 'reject' } },
    log: { level: 'debug' },
    switch: { workers: 3 },
    network: { podCIDRs: ['10.9.0.0/24'] },
  });
  const change = changeConfig(before, next);
  assert.deepEqual([...change.live].sort(), ['log.level', 'policy.denyAction.ingress']);
  assert.deepEqual([...change.restart].sort(), ['network.podCIDRs', 'switch.workers']);
  assert.equal(change.config.policy.denyAction.ingress, 'reject');
  assert.equal(change.config.switch.workers, before.switch.workers);
  assert.deepEqual(change.config.network.podCIDRs, before.network.podCIDRs);
  assert.ok(Object.isFrozen(change.config.policy.denyAction));
});

test('a file that is not there is an error with its name; the standard one may be missing', async () => {
  await assert.rejects(
    loadConfig('/nonexistent/weft.yaml'),
    (error: WeftError) => error.code === 'config-read' && error.message.includes('/nonexistent/weft.yaml'),
  );
});

test('a file with errors throws one message with every problem and its frame', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'weft-config-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'weft.yaml');
  writeFileSync(file, 'swich: {}\nnetwork: { mtu: x }\n');
  await assert.rejects(loadConfig(file), (error: unknown) => {
    assert.ok(error instanceof WeftError);
    assert.equal(error.code, 'config-invalid');
    assert.equal(error.problems.length, 2);
    assert.match(error.message, /Did you mean switch\?\n1 \| swich: \{\}\n {2}\| \^{5}/);
    return true;
  });
});

test('durations: what is written is what is read', () => {
  const table: readonly (readonly [string, number | null])[] = [
    ['0', 0],
    ['500us', 500],
    ['20ms', 20_000],
    ['1.5s', 1_500_000],
    ['2h', 7_200_000_000],
    ['5d', 432_000_000_000],
    ['5', null],
    ['-1s', null],
    ['1 s', null],
    ['1e3s', null],
    ['', null],
    ['0.5us', null],
  ];
  for (const [text, expected] of table) assert.equal(parseDuration(text), expected, text);
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2 ** 45 }), (value) => {
      assert.equal(parseDuration(formatDuration(value)), value);
    }),
    { numRuns: 300, seed: 1 },
  );
});

test('no text whatever makes the reader throw', () => {
  const fragments = fc.constantFrom(
    'switch:',
    '\n',
    '  ',
    '- ',
    '{',
    '}',
    '[',
    ']',
    '&a',
    '*a',
    '"',
    ': ',
    'mtu',
    '1',
    '!!x',
    '|',
    '\t',
    '%',
    '---',
  );
  fc.assert(
    fc.property(fc.array(fragments, { maxLength: 12 }), (parts) => {
      const { config, problems } = parseConfig(parts.join(''), 'x');
      assert.equal(config === null, problems.length > 0);
    }),
    { numRuns: 1000, seed: 2 },
  );
});
