/** The CNI files that the agent keeps in place, in a folder that stands for the host. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { CniUpkeep } from '../../../src/agent/cni-upkeep.js';
import { builtPrograms, recordPath } from '../../../src/cni/installation.js';
import type { Config } from '../../../src/config/options.js';
import { defaultConfig, type Overrides, overrideConfig } from '../../../src/config/parse.js';

const bin = '/opt/cni/bin';
const conf = '/etc/cni/net.d';

function upkeep(t: TestContext, cni: Overrides<Config['cni']> = { install: true }, programs = builtPrograms) {
  const root = mkdtempSync(join(tmpdir(), 'weft-upkeep-'));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  const said: string[] = [];
  const log = {
    info: (_: unknown, text?: string) => said.push(text ?? ''),
    warn: (_: unknown, text?: string) => said.push(text ?? ''),
  };
  const config = overrideConfig(defaultConfig(), { cni, host: { root } });
  const keeper = new CniUpkeep(config, log as never, programs);
  return { keeper, said, at: (path: string) => join(root, path) };
}

test('Nothing is installed unless it is asked for', (t) => {
  const { keeper, at } = upkeep(t, {});
  keeper.begin();
  assert.ok(!existsSync(at(bin)) && !existsSync(at(conf)) && !existsSync(at(recordPath)));
});

test('Nothing is installed before the agent can serve', (t) => {
  const { keeper, at } = upkeep(t);
  keeper.keep();
  assert.ok(!existsSync(at(bin)) && !existsSync(at(conf)));
  keeper.begin();
  assert.ok(existsSync(at(bin)) && existsSync(at(conf)));
});

test('Programs and configuration are put in place once, and what is removed comes back', (t) => {
  const { keeper, said, at } = upkeep(t);
  keeper.begin();
  const files = [`${bin}/weft-cni`, `${bin}/loopback`, `${conf}/00-weft.conflist`, recordPath];
  for (const file of files) assert.ok(existsSync(at(file)), file);
  assert.equal(said.length, 1);
  const before = files.map((file) => statSync(at(file)).ino);
  keeper.keep();
  assert.deepEqual(
    files.map((file) => statSync(at(file)).ino),
    before,
    'a look writes nothing',
  );
  assert.equal(said.length, 1);
  for (const file of files) {
    rmSync(at(file));
    keeper.keep();
    assert.ok(existsSync(at(file)), `${file} is back`);
  }
  assert.deepEqual(keeper.problems, []);
});

test('What an administrator changes of the configuration stays; the next agent begins with its own', (t) => {
  const { keeper, at } = upkeep(t);
  keeper.begin();
  const file = at(`${conf}/00-weft.conflist`);
  const own = readFileSync(file, 'utf8');
  const chained = own.replace(/\]\s*\}\s*$/, ', {"type": "tuning"}]}');
  assert.notEqual(chained, own);
  writeFileSync(file, chained);
  keeper.keep();
  assert.equal(readFileSync(file, 'utf8'), chained);
});

test('The folders are those of the configuration, where it names some', (t) => {
  const { keeper, at } = upkeep(t, { install: true, binDir: '/data/cni', confDir: '/data/net.d' });
  keeper.begin();
  assert.ok(existsSync(at('/data/cni/weft-cni')) && existsSync(at('/data/net.d/00-weft.conflist')));
  assert.ok(!existsSync(at(bin)));
});

test('What is in the way is a problem, told once, and gone when it is gone', (t) => {
  const { keeper, said, at } = upkeep(t);
  mkdirSync(at(bin), { recursive: true });
  writeFileSync(at(`${bin}/weft-cni`), 'of somebody else');
  keeper.begin();
  keeper.keep();
  assert.deepEqual(
    keeper.problems.map(({ code }) => code),
    ['install-foreign'],
  );
  assert.equal(said.length, 1);
  assert.ok(!existsSync(at(conf)), 'no configuration without its program');
  rmSync(at(`${bin}/weft-cni`));
  keeper.keep();
  assert.deepEqual(keeper.problems, []);
  assert.ok(existsSync(at(conf)));
});

test('Another network’s configuration that comes first is a problem', (t) => {
  const { keeper, at } = upkeep(t);
  mkdirSync(at(conf), { recursive: true });
  writeFileSync(at(`${conf}/00-another.conflist`), '{}');
  keeper.begin();
  assert.deepEqual(
    keeper.problems.map(({ code, message }) => [code, /00-another/.test(message)]),
    [['cni-shadowed', true]],
  );
});

test('Programs that were never built are a problem and no end of the agent', (t) => {
  const { keeper } = upkeep(t, { install: true }, '/nonexistent');
  keeper.begin();
  assert.deepEqual(
    keeper.problems.map(({ code }) => code),
    ['install-programs'],
  );
});
