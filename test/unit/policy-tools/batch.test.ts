/** `weft policy verdict --batch`: line by line, errors in their place. */
import assert from 'node:assert/strict';
import { Readable, Writable } from 'node:stream';
import { describe, test } from 'node:test';
import type { Answer } from '../../../src/cli/policy/answer.js';
import { runBatch } from '../../../src/cli/policy/batch.js';
import { engineNamed } from '../../../src/cli/policy/engines.js';
import { pod } from '../../support/query-world.js';

describe('batch mode', () => {
  async function batch(input: string) {
    const text = { out: '', errors: '' };
    const sink = (key: 'out' | 'errors') =>
      new Writable({
        write(chunk, _, done) {
          text[key] += String(chunk);
          done();
        },
      });
    const status = await runBatch(
      Readable.from([input]),
      sink('out'),
      sink('errors'),
      engineNamed('reference'),
      {
        ownNodeEgress: 'allow',
      },
    );
    return { status, lines: text.out.split('\n').slice(0, -1), errors: text.errors };
  }
  const world = JSON.stringify({
    objects: [pod('x', ['10.0.0.1'])],
    queries: [
      { from: '1.1.1.1', to: 'a/x', port: 1 },
      { from: 'a/q', to: 'a/x', port: 1 },
    ],
  });

  test('answers line by line, in order', async () => {
    const { status, lines, errors } = await batch(`${world}\n\n{"objects":[],"queries":[]}\n${world}`);
    assert.deepEqual([status, errors, lines.length, lines[1]], [0, '', 3, '[]']);
    assert.equal(lines[0], lines[2]);
    assert.deepEqual(
      JSON.parse(lines[0]!).map((answer: Answer) => answer.allowed),
      [true, null],
    );
  });

  const malformed = [
    'nonsense',
    '[]',
    '{"queries":[]}',
    '{"objects":{},"queries":[]}',
    '{"objects":[3],"queries":[]}',
    '{"objects":[],"queries":[],"options":{"ownNodeEgress":"maybe"}}',
    '{"objects":[{"apiVersion":"v1","kind":"NetworkPolicy","metadata":{"name":"deny"}}],"queries":[]}',
    '{"objects":[{"kind":"List","items":{}}],"queries":[]}',
  ];
  for (const line of malformed) {
    test(`the line ${line} gives an error in its place and status 2`, async () => {
      const { status, lines, errors } = await batch(`${world}\n${line}\n${world}\n`);
      assert.equal(status, 2);
      assert.equal(lines.length, 3);
      assert.match(JSON.parse(lines[1]!).error, /^line 2: /);
      assert.match(errors, /^weft: line 2: .*\n$/);
    });
  }

  test('a malformed query gives an error in its place', async () => {
    const queries = [
      { from: 'a/x', to: 'a/x', port: 1 },
      { from: 'a/x' },
      { from: 'a/x', to: 'a/x' },
      { from: 'a/x', to: 'a/x', port: 0 },
      7,
      { from: 'a/x', to: 'a/x', prot: 80 },
    ];
    const { status, lines } = await batch(JSON.stringify({ objects: [pod('x', ['10.0.0.1'])], queries }));
    const answers: Answer[] = JSON.parse(lines[0]!);
    assert.equal(status, 2);
    assert.deepEqual(
      answers.map((answer) => answer.error === undefined),
      [true, false, false, false, false, false],
    );
    assert.equal(answers[0]?.allowed, true);
  });

  test('List objects are taken apart, and workloads become pods', async () => {
    const list = { apiVersion: 'v1', kind: 'List', items: [pod('x', ['10.0.0.1'])] };
    const { lines } = await batch(
      JSON.stringify({ objects: [list], queries: [{ from: '1.1.1.1', to: 'a/x', port: 1 }] }),
    );
    assert.equal(JSON.parse(lines[0]!)[0].allowed, true);
  });
});
