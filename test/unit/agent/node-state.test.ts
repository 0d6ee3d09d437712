/** Lives of one name: a source tells the one that there is, and that counts. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NodeState } from '../../../src/agent/node-state.js';
import { gone, makePod, makeService, up } from '../../support/policy-world.js';

const early = { uid: '1', created: '2026-01-01T00:00:00Z' };
const late = { uid: '2', created: '2026-01-02T00:00:00Z' };

// A datastore that was put back, or two API servers whose clocks differ.
test('62 the life that a source tells of replaces a former one, also where it was created earlier', () => {
  for (const [held, told] of [
    [early, late],
    [late, early],
  ]) {
    const state = new NodeState({ name: 'one', addresses: [], podCidrs: [] });
    state.apply([
      up.pod(makePod('x/a', '10.0.0.1', {}, held)),
      up.service(makeService('x/s', ['10.96.0.1'], {}, held)),
    ]);
    state.apply([
      up.pod(makePod('x/a', '10.0.0.2', {}, told)),
      up.service(makeService('x/s', ['10.96.0.2'], {}, told)),
    ]);
    const { world } = state;
    assert.deepEqual(
      [world.get('pod', 'x/a')?.addresses[0]?.text, world.get('service', 'x/s')?.clusterIPs[0]?.text],
      ['10.0.0.2', '10.96.0.2'],
    );
    state.apply([gone('pod', 'x/a', held!.uid), gone('service', 'x/s', held!.uid)]);
    assert.deepEqual(
      [world.get('pod', 'x/a')?.uid, world.get('service', 'x/s')?.uid],
      [told!.uid, told!.uid],
    );
    state.apply([gone('pod', 'x/a', told!.uid), gone('service', 'x/s', told!.uid)]);
    assert.deepEqual([world.get('pod', 'x/a'), world.get('service', 'x/s')], [undefined, undefined]);
  }
});
