/** The folder of manifests as a source: what is read when, and what becomes of it. On real files and real notifications. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type HasWriter, ManifestSource } from '../../../src/agent/manifest-source.js';
import type { Problem } from '../../../src/errors/problem.js';
import type { WorldEvent } from '../../../src/model/event.js';
import { eventually, podManifest, policyManifest } from '../../support/agent-fixture.js';

interface Watched {
  readonly folder: string;
  /** In the folder, in one step, from a place that is not watched. */
  replace(name: string, text: string): void;
  /** What was told, such as `+policy shop/a` and `-policy shop/a`. */
  readonly told: string[];
  problems: readonly Problem[];
  synced: number;
  readonly source: ManifestSource;
}

function watched(
  context: TestContext,
  files: Readonly<Record<string, string>>,
  hasWriter?: HasWriter,
): Watched {
  const base = mkdtempSync(join(tmpdir(), 'weft-manifests-'));
  const folder = join(base, 'manifests');
  mkdirSync(folder);
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  const source = new ManifestSource(folder, hasWriter);
  const seen: Watched = {
    folder,
    replace: (name, text) => {
      writeFileSync(join(base, 'draft'), text);
      renameSync(join(base, 'draft'), join(folder, name));
    },
    told: [],
    problems: [],
    synced: 0,
    source,
  };
  context.after(() => {
    source.stop();
    rmSync(base, { recursive: true, force: true });
  });
  source.start({
    apply: (events) => seen.told.push(...events.map(words)),
    synced: () => seen.synced++,
    problems: (problems) => {
      seen.problems = problems;
    },
  });
  return seen;
}

function words(event: WorldEvent): string {
  const { namespace, name } =
    event.type === 'delete'
      ? event
      : { namespace: '', ...(event.object as { namespace?: string; name: string }) };
  return `${event.type === 'delete' ? '-' : '+'}${event.kind} ${namespace}/${name}`;
}

const nobodyWrites: HasWriter = () => false;
const policy = (name: string) => policyManifest('shop', name);

test('a file that is renamed into place is told of, each time', async (t) => {
  const w = watched(t, { 'a.yaml': policy('p0') }, nobodyWrites);
  assert.deepEqual(w.told, ['+policy shop/p0']);
  for (let i = 1; i <= 4; i++) {
    w.told.length = 0;
    w.replace('a.yaml', policy(`p${i}`));
    // Well before the regular look, which is every 5 s.
    await eventually('the change is told', () => w.told.length > 0, 3000);
    assert.deepEqual(w.told, [`+policy shop/p${i}`, `-policy shop/p${i - 1}`]);
  }
});

test('only the file that was named is read; a look finds the rest', async (t) => {
  const outside = mkdtempSync(join(tmpdir(), 'weft-outside-'));
  t.after(() => rmSync(outside, { recursive: true }));
  writeFileSync(join(outside, 'b.yaml'), policy('b0'));
  const w = watched(t, { 'a.yaml': policy('a0') }, nobodyWrites);
  symlinkSync(join(outside, 'b.yaml'), join(w.folder, 'b.yaml'));
  await eventually('the link is told', () => w.told.includes('+policy shop/b0'), 3000);
  // Behind the link, so that no watch sees it.
  writeFileSync(join(outside, 'b.yaml'), policy('b1'));
  w.replace('a.yaml', policy('a1'));
  await eventually('the named file is told', () => w.told.includes('+policy shop/a1'), 3000);
  assert.equal(w.told.includes('+policy shop/b1'), false);
  await w.source.refresh();
  assert.equal(w.told.includes('+policy shop/b1'), true);
});

test('the regular look finds what no watch has seen, and what has moved between files is never gone', async (t) => {
  const outside = mkdtempSync(join(tmpdir(), 'weft-outside-'));
  t.after(() => rmSync(outside, { recursive: true }));
  const write = (name: string, ...names: string[]) =>
    writeFileSync(join(outside, name), names.map(policy).join(''));
  write('a.yaml', 'stays', 'moves');
  write('z.yaml', 'other');
  const between = Array.from({ length: 2000 }, (_, i) => [`m${i}.yaml`, ''] as const);
  const w = watched(t, Object.fromEntries(between), nobodyWrites);
  for (const name of ['a.yaml', 'z.yaml']) symlinkSync(join(outside, name), join(w.folder, name));
  await eventually('the links are told', () => w.told.length === 3, 8000);
  w.told.length = 0;
  write('z.yaml', 'other', 'moves', 'new');
  write('a.yaml', 'stays');
  await eventually('the look has found it', () => w.told.length > 0, 12_000);
  assert.deepEqual(w.told, ['+policy shop/new']);
  assert.equal(w.source.size, 4);
});

test('a file that somebody writes is read once it is whole', async (t) => {
  let writing = true;
  const asked: string[] = [];
  const w = watched(t, {}, (path) => {
    asked.push(path);
    return writing;
  });
  // The first half parses, and would take the second policy away.
  writeFileSync(join(w.folder, 'a.yaml'), policy('one'));
  await eventually('it was asked again', () => asked.length >= 3, 3000);
  assert.deepEqual(w.told, []);
  writeFileSync(join(w.folder, 'a.yaml'), policy('one') + policy('two'));
  writing = false;
  await eventually('it is told', () => w.told.length > 0, 3000);
  assert.deepEqual(w.told, ['+policy shop/one', '+policy shop/two']);
});

test('where nobody can tell whether a file is whole it is read a moment later', async (t) => {
  const w = watched(t, {});
  writeFileSync(join(w.folder, 'a.yaml'), '');
  writeFileSync(join(w.folder, 'a.yaml'), policy('one'));
  await eventually('it is told', () => w.told.length > 0, 3000);
  assert.deepEqual(w.told, ['+policy shop/one']);
});

test('a file that is deleted and made anew at once keeps its objects meanwhile', async (t) => {
  const w = watched(t, { 'a.yaml': policy('kept') }, (path) => (path.endsWith('a.yaml') ? null : false));
  w.told.length = 0;
  rmSync(join(w.folder, 'a.yaml'));
  writeFileSync(join(w.folder, 'a.yaml'), policy('kept') + policy('new'));
  await eventually('the new one is told', () => w.told.length > 0, 3000);
  assert.deepEqual(w.told, ['+policy shop/new']);
  rmSync(join(w.folder, 'a.yaml'));
  await eventually('deletion is meant', () => w.told.length > 1, 3000);
  assert.deepEqual(w.told.slice(1), ['-policy shop/kept', '-policy shop/new']);
});

test('of two definitions the later file counts, and the earlier again once that is gone', async (t) => {
  const pod = (label: string) => podManifest('shop', 'web').replace('app: web', `app: ${label}`);
  const w = watched(t, { 'a.yaml': pod('first'), 'b.yaml': pod('second') }, nobodyWrites);
  assert.deepEqual(w.told, ['+pod shop/web']);
  assert.match(w.problems[0]?.message ?? '', /defined twice.*a\.yaml does not/);
  assert.equal(w.problems[0]?.source?.file, join(w.folder, 'b.yaml'));
  // Hidden by the other: nothing is different.
  w.replace('a.yaml', pod('third'));
  await w.source.refresh();
  assert.deepEqual(w.told, ['+pod shop/web']);
  rmSync(join(w.folder, 'b.yaml'));
  await w.source.refresh();
  assert.deepEqual(w.told, ['+pod shop/web', '+pod shop/web']);
  assert.deepEqual(w.problems, []);
  rmSync(join(w.folder, 'a.yaml'));
  await w.source.refresh();
  assert.deepEqual(w.told.slice(2), ['-pod shop/web']);
  assert.equal(w.source.size, 0);
});

test('a folder that is made inside is watched, and what was in it goes with it', async (t) => {
  const w = watched(t, {}, nobodyWrites);
  const inner = join(w.folder, 'inner');
  mkdirSync(inner);
  writeFileSync(join(inner, 'a.yaml'), policy('a'));
  await eventually('it is told', () => w.told.includes('+policy shop/a'), 3000);
  writeFileSync(join(inner, 'b.yaml'), policy('b'));
  await eventually('a second one is told', () => w.told.includes('+policy shop/b'), 3000);
  w.told.length = 0;
  rmSync(inner, { recursive: true });
  await eventually('both are gone', () => w.told.length === 2, 3000);
  assert.deepEqual(w.told.sort(), ['-policy shop/a', '-policy shop/b']);
});

test('a mounted ConfigMap is exchanged as a whole', async (t) => {
  const w = watched(t, {}, nobodyWrites);
  const version = (number: number) => {
    mkdirSync(join(w.folder, `..v${number}`));
    writeFileSync(join(w.folder, `..v${number}`, 'a.yaml'), policy(`p${number}`));
    symlinkSync(`..v${number}`, join(w.folder, '..next'));
    renameSync(join(w.folder, '..next'), join(w.folder, '..data'));
  };
  version(1);
  symlinkSync(join('..data', 'a.yaml'), join(w.folder, 'a.yaml'));
  await eventually('the first is told', () => w.told.includes('+policy shop/p1'), 3000);
  version(2);
  await eventually('the second is told', () => w.told.includes('+policy shop/p2'), 3000);
});

test('a folder that goes away keeps what it held; one that comes back is watched again', async (t) => {
  const w = watched(t, { 'a.yaml': policy('a') }, nobodyWrites);
  rmSync(w.folder, { recursive: true });
  await w.source.refresh();
  assert.match(w.problems[0]?.message ?? '', /what it last held stays in force/);
  assert.equal(w.told.includes('-policy shop/a'), false);
  mkdirSync(w.folder);
  writeFileSync(join(w.folder, 'a.yaml'), policy('a'));
  await w.source.refresh();
  assert.deepEqual(w.problems, []);
  w.replace('b.yaml', policy('b'));
  await eventually('it is watched', () => w.told.includes('+policy shop/b'), 3000);
});

test('nothing is in sync before every file could be read once', async (t) => {
  const w = watched(t, { 'a.yaml': policy('a'), 'b.yaml': '{' }, nobodyWrites);
  assert.equal(w.synced, 0);
  assert.match(
    w.problems.map(({ message }) => message).join(' '),
    /nothing is published before it can be read/,
  );
  w.replace('b.yaml', policy('b'));
  await eventually('it is in sync', () => w.synced > 0, 3000);
  w.replace('b.yaml', '{');
  await eventually('the fault is told', () => w.problems.length > 0, 3000);
  assert.match(w.problems[0]!.message, /what it last held stays in force/);
  assert.equal(w.told.includes('-policy shop/b'), false);
});

test('a policy that would be left out is waited for, its file keeps what it held', async (t) => {
  const nameless = policy('a').replace('name: a', 'name: 7');
  assert.notEqual(nameless, policy('a'));
  const w = watched(t, { 'a.yaml': policy('a'), 'b.yaml': policy('b') }, nobodyWrites);
  assert.equal(w.synced, 1);
  w.replace('a.yaml', nameless);
  await eventually('the fault is told', () => w.problems.length > 0, 3000);
  assert.match(w.problems[0]!.message, /must be text.*what it last held stays in force/);
  assert.equal(w.told.includes('-policy shop/a'), false);

  const first = watched(t, { 'a.yaml': policy('a').replace('networking.k8s.io/v1', 'v1') }, nobodyWrites);
  assert.equal(first.synced, 0);
  assert.match(first.problems[0]!.message, /There is no NetworkPolicy in v1.*nothing is published/);
});
