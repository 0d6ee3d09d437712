/** What a change makes the compiler look at, counted on the objects themselves. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Compiler } from '../../../src/image/compile.js';
import type { NetworkPolicy } from '../../../src/model/policy.js';
import { selector } from '../../../src/model/selector.js';
import type { EndpointSlice } from '../../../src/model/service.js';
import { World } from '../../../src/model/world.js';
import { address } from '../../../src/net/address.js';
import { makeNode, makePod, makePolicy, makeService } from '../../support/policy-world.js';

const port = { name: '', protocol: 'TCP', port: 80, targetPort: 8080 } as const;

test("a pod's change looks at no Service that does not select it, whatever it tells of its node", () => {
  const world = new World();
  let looked = 0;
  world.put('node', makeNode('one', '192.0.2.1'));
  const hostAddresses = [address('192.0.2.1')];
  for (let i = 0; i < 100; i++)
    world.put('pod', makePod(`x/p${i}`, `10.0.0.${i + 1}`, {}, { hostAddresses }));
  for (let i = 0; i < 100; i++) {
    const more = { ports: [port], trafficDistribution: 'PreferSameZone' } as const;
    world.put('service', makeService(`x/s${i}`, [`10.96.0.${i + 1}`], { app: `a${i}` }, more));
    const slice: EndpointSlice = {
      namespace: 'x',
      name: `s${i}-1`,
      service: `s${i}`,
      family: 4,
      ports: [{ name: '', protocol: 'TCP', port: 8080 }],
      get endpoints() {
        looked++;
        return [{ addresses: [address(`10.0.0.${i + 1}`)], ready: true, nodeName: 'one' }];
      },
    };
    world.put('slice', slice);
  }
  const compiler = new Compiler(world, { node: 'one' });
  compiler.update();
  assert.ok(looked >= 100, `${looked}`);
  const looks = (change: () => void) => {
    const before = looked;
    change();
    compiler.update();
    return looked - before;
  };
  for (let i = 0; i < 20; i++)
    assert.equal(
      looks(() => world.put('pod', makePod(`x/p${i}`, `10.0.0.${i + 1}`, { turn: '2' }, { hostAddresses }))),
      0,
    );
  assert.equal(
    looks(() => world.put('pod', makePod('x/p1', '10.0.0.2', { app: 'a7' }, { hostAddresses }))),
    0,
    'nor at one that does, and has slices',
  );
  // A node that really has another address or zone is everybody's business.
  assert.ok(looks(() => world.put('node', { ...makeNode('one', '192.0.2.1'), zone: 'east' })) >= 100);
});

test('a pod is asked of no Service but those that select by a label of its own', () => {
  const world = new World();
  let looked = 0;
  for (let i = 0; i < 100; i++) {
    const made = makeService(
      `x/s${i}`,
      [`10.96.0.${i + 1}`],
      { app: `a${i}`, tier: 'web' },
      { ports: [port] },
    );
    world.put('service', {
      ...made,
      get selector() {
        looked++;
        return made.selector;
      },
    });
  }
  const compiler = new Compiler(world, { node: 'one' });
  compiler.update();
  const labels = [{ app: 'a7', tier: 'web' }, { app: 'a7' }, { tier: 'web' }, { app: 'a8', tier: 'web' }];
  for (const own of labels) {
    const before = looked;
    world.put('pod', makePod('x/p', '10.0.0.1', own));
    const { image } = compiler.update();
    // Two lives of the pod, with one Service each at most, which is then looked up again.
    assert.ok(looked - before <= 20, `${looked - before} looks at selectors`);
    assert.deepEqual(image, new Compiler(world, { node: 'one' }).update().image);
    looked = 0;
  }
});

test("a policy's change is put to the pods of its namespace, and no other policy is", () => {
  const world = new World();
  let looked = 0;
  const policy = (number: number, turn: number): NetworkPolicy => {
    const made = makePolicy(`x/n${number}`, selector({ group: `g${number % 10}` }), {
      ingress: [{ peers: [{ kind: 'pods', podSelector: selector({ turn: `${turn}` }) }], ports: null }],
    });
    return {
      ...made,
      get podSelector() {
        looked++;
        return made.podSelector;
      },
    };
  };
  const pods = 40;
  const policies = 100;
  for (let i = 0; i < pods; i++)
    world.put('pod', makePod(`x/p${i}`, `10.0.0.${i + 1}`, { group: `g${i % 10}` }));
  for (let i = 0; i < policies; i++) world.put('policy', policy(i, 0));
  const compiler = new Compiler(world, { node: 'one' });
  compiler.update();
  for (let turn = 1; turn < 20; turn++) {
    const before = looked;
    world.put('policy', policy(turn, turn));
    const { image } = compiler.update();
    // Once to see who is concerned, and once for each of those.
    assert.ok(looked - before <= 2 * pods, `${looked - before} looks at selectors`);
    assert.deepEqual(image, new Compiler(world, { node: 'one' }).update().image);
  }
  const before = looked;
  world.put('pod', makePod('x/p3', '10.0.0.4', { group: 'g4' }));
  const { image } = compiler.update();
  assert.ok(looked - before <= policies, 'a pod that changes is put to every policy once');
  assert.deepEqual(image, new Compiler(world, { node: 'one' }).update().image);
});
