import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { keepLast, lastConfigName, loadLastGood } from '../../../src/config/last.js';
import { WeftError } from '../../../src/errors/problem.js';

function folder(t: TestContext) {
  const run = mkdtempSync(join(tmpdir(), 'weft-last-'));
  t.after(() => rmSync(run, { recursive: true }));
  const file = join(run, 'config.yaml');
  const named = `paths: { run: ${run} }\n`;
  return {
    run,
    file,
    named,
    kept: join(run, lastConfigName),
    write: (text: string) => writeFileSync(file, text),
  };
}

const damages: readonly (readonly [string, string])[] = [
  ['a value that is none', 'log: { level: loud }\n'],
  ['an option that is none', 'lgo: {}\n'],
  ['YAML that ends too early', 'log: { level: [\n'],
  ['a key twice', 'log: {}\nlog: {}\n'],
  ['bytes', '\u0000\u0001\n'],
];

for (const [what, damage] of damages) {
  test(`with ${what} in the file the last good configuration is in force, and the mistake is told with its place`, async (t) => {
    const { run, file, named, write } = folder(t);
    write(`${named}log: { level: debug }\n`);
    const good = await loadLastGood(file);
    assert.equal(good.refused, undefined);
    await keepLast(run, good.text);
    write(`${named}${damage}`);
    const { config, refused, text } = await loadLastGood(file, { log: { format: 'json' } });
    assert.deepEqual([config.paths.run, config.log.level, config.log.format], [run, 'debug', 'json']);
    assert.equal(text, good.text);
    assert.match(refused?.message ?? '', /config\.yaml:\d+:\d+: /);
  });
}

test('a file that is gone is a mistake like others where it was named', async (t) => {
  const { run, file, named, write } = folder(t);
  write(named);
  await keepLast(run, (await loadLastGood(file)).text);
  rmSync(file);
  const { refused } = await loadLastGood(file, { paths: { run } });
  assert.match(refused?.message ?? '', /cannot be read \(ENOENT\)/);
});

test('without a last good one, or with one that is none either, the mistake ends it', async (t) => {
  const { file, named, kept, write } = folder(t);
  write(`${named}lgo: {}\n`);
  const refuses = () =>
    assert.rejects(
      loadLastGood(file),
      (error) => error instanceof WeftError && error.code === 'config-invalid',
    );
  await refuses();
  writeFileSync(kept, 'neither: {}\n');
  await refuses();
});

test('what is kept is readable by its owner only, and nothing stays of it where it cannot be written', async (t) => {
  const { run, kept } = folder(t);
  await keepLast(run, 'log: {}\n');
  assert.equal(statSync(kept).mode & 0o777, 0o600);
  await keepLast(run, 'log: { level: debug }\n');
  assert.equal(readFileSync(kept, 'utf8'), 'log: { level: debug }\n');
  await keepLast(join(run, 'nowhere'), 'log: {}\n');
});
