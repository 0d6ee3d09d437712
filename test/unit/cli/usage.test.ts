/** Wrong command lines end with 2 and one sentence that says what is right; data goes nowhere then. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { withPort } from '../../../src/cli/ends.js';
import { counted } from '../../../src/cli/output.js';

const entry = fileURLToPath(new URL('../../../src/cli/main.js', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'weft-usage-'));
after(() => rmSync(folder, { recursive: true }));
mkdirSync(join(folder, 'empty'));
const pod = 'apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: c, image: i}]}\n';
writeFileSync(join(folder, 'pod.yaml'), pod);
writeFileSync(join(folder, 'queries.json'), '[{"from": "default/a", "to": "192.0.2.1", "port": 80}]');

const weft = (...args: readonly string[]) =>
  spawnSync(process.execPath, [entry, ...args], { encoding: 'utf8', cwd: folder, timeout: 60_000 });

const wrong: readonly (readonly [args: readonly string[], says: RegExp])[] = [
  [[], /Usage: weft/],
  [['nosuch'], /unknown command 'nosuch'/],
  [['lab', 'upp'], /Did you mean up\?/],
  [['lab', 'up', '--exmaple', 'x'], /Did you mean --example\?/],
  [['lab', 'up', '--name', 'a b/c'], /a lab's name is made of letters/],
  [['lab', 'up', '-f', 'empty'], /There is no YAML or JSON file in empty\./],
  [['lab', 'exec', 'web', '-x'], /"-x" is no program\. Options stand before the pod/],
  [['lab', 'exec', 'web', '--'], /Name a command after --|missing required argument 'command'/],
  [['lab', 'exec', 'web', '--name', 'none-such', '--', 'true'], /No lab called "none-such"/],
  [['why', 'a'], /missing required argument 'to'\n\(weft why --help tells its arguments\)/],
  [['policy', 'nosuch'], /unknown command 'nosuch'\n\(weft policy --help lists the commands\)/],
  [['drops', '-o', 'xml'], /Allowed choices are table, wide, json/],
  [['install', '--host-root', 'no/where'], /There is no folder no\/where\. --host-root is where the host's/],
  [
    ['uninstall', '--host-root', 'no/where'],
    /There is no folder no\/where\. --host-root is where the host's/,
  ],
  [['policy', 'lint', 'empty'], /There is no YAML or JSON file in empty\./],
];
for (const [args, says] of wrong) {
  test(`weft ${args.join(' ')}: exit status 2`, () => {
    const { status, stderr } = weft(...args);
    assert.equal(status, 2, stderr);
    assert.match(stderr, says);
    assert.doesNotMatch(stderr, /\n\s+at /, 'a stack is no sentence');
  });
}

test('help and version are no mistakes', () => {
  assert.equal(weft('--help').status, 0);
  assert.equal(weft('lab', 'up', '--help').status, 0);
  assert.equal(weft('--version').status, 0);
});

test('lint takes -o table, as every command that prints one', () => {
  const { status, stdout } = weft('policy', 'lint', '-o', 'table', 'pod.yaml');
  assert.equal(status, 0, stdout);
});

test('verdict says what to do for pods that have no address yet', () => {
  const ask = ['policy', 'verdict', '-f', 'pod.yaml', '--queries', 'queries.json', '--engine', 'reference'];
  assert.match(weft(...ask).stderr, /--assign-addresses gives each an address/);
  const assigned = weft(...ask, '--assign-addresses');
  assert.equal(assigned.stderr, '');
  assert.match(assigned.stdout, /allowed/);
});

test('one pod, two pods, two policies; a port behind an IPv6 address stands outside of its brackets', () => {
  assert.equal(counted(1, 'pod'), '1 pod');
  assert.equal(counted(0, 'pod'), '0 pods');
  assert.equal(counted(2, 'policy'), '2 policies');
  assert.equal(withPort('fd00::1', 80), '[fd00::1]:80');
  assert.equal(withPort('192.0.2.1', 80), '192.0.2.1:80');
  assert.equal(withPort('default/web', 'http'), 'default/web:http');
});
