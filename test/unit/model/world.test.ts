import assert from 'node:assert/strict';
import { test } from 'node:test';
import { World } from '../../../src/model/world.js';
import { gone, makeNamespace, makePod, up } from '../../support/policy-world.js';

const first = makePod('x/a', '10.0.0.1', {}, { uid: '1', created: '2026-01-01T00:00:00Z' });
const second = makePod('x/a', '10.0.0.2', {}, { uid: '2', created: '2026-01-02T00:00:00Z' });

test('62 of two lives of one name the later created wins, whichever comes first', () => {
  assert.equal(World.of([up.pod(first), up.pod(second)]).get('pod', 'x/a'), second);
  assert.equal(World.of([up.pod(second), up.pod(first)]).get('pod', 'x/a'), second);
});

test('62 the late deletion of a pod does not remove its successor', () => {
  const world = World.of([up.pod(second), gone('pod', 'x/a', '1')]);
  assert.equal(world.get('pod', 'x/a'), second);
  assert.equal(world.apply(gone('pod', 'x/a', '2')), true);
  assert.equal(world.get('pod', 'x/a'), undefined);
});

test('a deletion without a uid removes whatever has the name', () => {
  assert.equal(World.of([up.pod(first), gone('pod', 'x/a')]).get('pod', 'x/a'), undefined);
});

test('22 a namespace gets the label of its name where it has none', () => {
  const world = World.of([up.namespace(makeNamespace('x', { team: 'red' }))]);
  assert.deepEqual(Object.fromEntries(world.get('namespace', 'x')!.labels), {
    team: 'red',
    'kubernetes.io/metadata.name': 'x',
  });
});

test('the journal tells what was touched since a revision, and says so where it does not know', () => {
  const world = new World();
  const start = world.revision;
  world.apply(up.pod(first));
  world.apply(up.pod(first));
  world.apply(gone('pod', 'y/b'));
  assert.deepEqual(world.touchedSince(start), [{ kind: 'pod', key: 'x/a' }]);
  assert.deepEqual(world.touchedSince(world.revision), []);
  for (let i = 0; i < 200_000; i++) world.apply(up.pod({ ...first }));
  assert.equal(world.touchedSince(start), undefined);
  assert.deepEqual(world.touchedSince(world.revision - 1), [{ kind: 'pod', key: 'x/a' }]);
});

test('a copy has its own future', () => {
  const world = World.of([up.pod(first)]);
  const copy = world.copy();
  copy.apply(gone('pod', 'x/a'));
  assert.equal(world.get('pod', 'x/a'), first);
});
