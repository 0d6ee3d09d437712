/** Text and folders → objects with the place of every field. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { formatPath } from '../../../src/manifests/object.js';
import { parseManifests } from '../../../src/manifests/parse.js';
import { readManifests } from '../../../src/manifests/read.js';

const twoObjects = `# a comment
apiVersion: v1
kind: Namespace
metadata:
  name: a
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: p, namespace: a}
spec:
  podSelector:
  ingress:
    - from:
        - ipBlock: {cidr: 10.0.0.0/8}
      ports: [{port: 80}, {port: http}]
`;

describe('parsing', () => {
  test('every field knows its line and column, and an absent one points at its nearest ancestor', () => {
    const { objects, problems } = parseManifests(twoObjects, 'x.yaml');
    assert.deepEqual(problems, []);
    const policy = objects[1]!;
    const places: [path: (string | number)[], what: 'key' | 'value', line: number, column: number][] = [
      [['metadata', 'name'], 'value', 9, 18],
      [['spec', 'podSelector'], 'value', 11, 3],
      [['spec', 'ingress', 0, 'from', 0, 'ipBlock', 'cidr'], 'value', 14, 27],
      [['spec', 'ingress', 0, 'from', 0, 'ipBlock', 'cidr'], 'key', 14, 21],
      [['spec', 'ingress', 0, 'ports', 1, 'port'], 'value', 15, 34],
      [['spec', 'ingress', 0, 'ports', 1, 'protocol'], 'value', 15, 27],
      [['spec', 'egress'], 'value', 11, 3],
    ];
    for (const [path, what, line, column] of places) {
      assert.deepEqual(policy.locate(path, what), { file: 'x.yaml', line, column, path: formatPath(path) });
    }
  });

  test('JSON text has places too, and several documents, lists and typed lists are taken apart', () => {
    const item = { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'p' } };
    const json = JSON.stringify({ apiVersion: 'v1', kind: 'List', items: [item, item] }, null, 1);
    const list = parseManifests(json, 'x.json');
    assert.equal(list.objects.length, 2);
    assert.equal(list.objects[1]!.locate(['metadata', 'name']).line, 16);
    const typed = parseManifests(
      '{"apiVersion":"v1","kind":"PodList","items":[{"metadata":{"name":"p"}}]}',
      'x.json',
    );
    assert.deepEqual(typed.objects[0]!.value, { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'p' } });
    const several = parseManifests('{"kind":"Pod"}\n---\n{"kind":"Pod"}\n---\n---\n', 'x.json');
    assert.equal(several.objects.length, 2);
  });

  test('anchors and merge keys are followed, and an alias bomb is a problem instead of a crash', () => {
    const merged = parseManifests(
      'kind: Pod\nmetadata: &m {name: a, labels: {x: y}}\nspec: {<<: *m, z: 1}\n',
      'x',
    );
    assert.deepEqual(merged.objects[0]!.value.spec, { name: 'a', labels: { x: 'y' }, z: 1 });
    const levels = Array.from(
      { length: 12 },
      (_, i) => `l${i + 1}: &l${i + 1} [${Array(12).fill(`*l${i}`).join(', ')}]`,
    );
    const bomb = parseManifests(`l0: &l0 x\n${levels.join('\n')}\n`, 'bomb.yaml');
    assert.equal(bomb.objects.length, 0);
    assert.equal(bomb.problems[0]?.code, 'syntax');
  });

  test('text nested a hundred thousand deep is a problem instead of a crash', () => {
    const deep = [
      '['.repeat(100_000),
      `${'- '.repeat(100_000)}x`,
      '? '.repeat(100_000),
      '{a: '.repeat(50_000),
      `${'['.repeat(600)}${']'.repeat(600)}`,
    ];
    for (const text of deep) {
      const { objects, problems } = parseManifests(text, 'deep');
      assert.equal(objects.length, 0);
      assert.equal(problems[0]?.severity, 'error');
    }
  });

  test('what nests less than that is read', () => {
    const depth = 450;
    const indented = Array.from({ length: depth }, (_, i) => `${' '.repeat(i)}a:`).join('\n');
    for (const text of [
      `a: ${'['.repeat(depth)}${']'.repeat(depth)}`,
      `a:\n${'- '.repeat(depth)}x`,
      indented,
    ]) {
      assert.deepEqual(parseManifests(`kind: Pod\n${text}\n`, 'x').problems, []);
    }
    // Text is no nesting, whatever it holds.
    assert.deepEqual(parseManifests(`kind: Pod\na: "${'['.repeat(1000)}"\n`, 'x').problems, []);
  });

  test('a label named __proto__ is a label like any other', () => {
    for (const text of [
      '{"kind":"Pod","metadata":{"name":"p","labels":{"__proto__":"x"}}}',
      'kind: Pod\nmetadata: {name: p, labels: {__proto__: x}}\n',
    ]) {
      const [object] = parseManifests(text, 'x').objects;
      const labels = (object!.value.metadata as { labels: object }).labels;
      assert.deepEqual(Object.keys(labels), ['__proto__']);
    }
  });

  const broken: [name: string, text: string, code: string, line: number, fix: RegExp][] = [
    [
      'a second object without ---',
      'kind: Pod\nmetadata: {name: a}\nkind: Pod\nmetadata: {name: b}\n',
      'missing-separator',
      3,
      /---/,
    ],
    [
      'a key given twice further in',
      'kind: Pod\nmetadata:\n  name: a\n  name: b\n',
      'syntax',
      4,
      /one of the two/,
    ],
    ['a tab', 'kind: Pod\nmetadata:\n\tname: a\n', 'syntax', 3, /spaces/],
    ['a lost metadata line', 'kind: Pod\n  name: a\n', 'syntax', 1, /metadata:/],
    ['an alias of nothing', 'kind: Pod\nmetadata: *m\n', 'syntax', 2, /anchor/],
    ['an open bracket', 'kind: Pod\nspec: {a: [1, 2\n', 'syntax', 3, /bracket|quote/],
    ['a plain text', 'hello\n', 'not-an-object', 1, /one object per document/],
    ['a bare list', '- a\n- b\n', 'not-an-object', 1, /one object per document/],
  ];
  for (const [name, text, code, line, fix] of broken) {
    test(`${name} is found on its line, once, with what to do`, () => {
      const { problems } = parseManifests(text, 'x.yaml');
      const found = problems.filter((problem) => problem.source?.line === line);
      assert.equal(found.length, 1, JSON.stringify(problems));
      assert.equal(found[0]?.code, code);
      assert.match(found[0]?.fix ?? '', fix);
    });
  }
});

describe('reading', () => {
  test('a folder is read whole and sorted; hidden names, other files and linked folders are left out', (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'weft-read-'));
    t.after(() => rmSync(folder, { recursive: true }));
    mkdirSync(join(folder, 'sub'));
    const pod = (name: string) => `apiVersion: v1\nkind: Pod\nmetadata: {name: ${name}}\n`;
    writeFileSync(join(folder, 'b.yaml'), pod('b'));
    writeFileSync(join(folder, 'a.yml'), pod('a'));
    writeFileSync(join(folder, 'sub', 'c.json'), '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"c"}}');
    writeFileSync(join(folder, '.hidden.yaml'), pod('hidden'));
    writeFileSync(join(folder, 'README.md'), '# no manifest');
    symlinkSync(folder, join(folder, 'sub', 'loop'));
    const { model, problems } = readManifests([folder]);
    assert.deepEqual(problems, []);
    assert.deepEqual(
      model.pods.map((pod) => pod.name),
      ['a', 'b', 'c'],
    );
  });

  test('standard input is read once, and what cannot be read is a problem that names it', () => {
    let reads = 0;
    const stdin = () => {
      reads++;
      return 'apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n';
    };
    const { model, problems } = readManifests(['-', '/nonexistent/x.yaml'], stdin);
    assert.equal(reads, 1);
    assert.equal(model.pods[0]?.source?.file, '<stdin>');
    assert.equal(problems.length, 1);
    assert.equal(problems[0]?.code, 'unreadable');
    assert.match(problems[0]?.message ?? '', /\/nonexistent\/x\.yaml/);
  });

  test('other kinds are named and left out, another group’s NetworkPolicy among them', () => {
    const text = [
      'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: a}',
      'apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {name: p}\nspec: {selector: all()}',
      'apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: j}',
    ].join('\n---\n');
    const { skipped, model } = readManifests(['-'], () => text);
    assert.deepEqual(
      skipped.map(({ kind, name }) => `${kind}/${name}`),
      ['ConfigMap/c', 'NetworkPolicy/p', 'CronJob/j'],
    );
    assert.deepEqual(model.policies, []);
  });

  test('a namespace that is only mentioned has its name label and no other', () => {
    const { model } = readManifests(
      ['-'],
      () => 'apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: a}\n',
    );
    assert.deepEqual(
      model.namespaces.map(({ name, labels }) => [name, [...labels]]),
      [['a', [['kubernetes.io/metadata.name', 'a']]]],
    );
  });
});
