/** Statements on what happens over time: one compiler, events, and the verdict after each. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Compiler } from '../../../src/image/compile.js';
import type { WorldEvent } from '../../../src/model/event.js';
import { everything } from '../../../src/model/selector.js';
import { World } from '../../../src/model/world.js';
import {
  Answers,
  expression,
  gone,
  has,
  makeNamespace,
  makeNode,
  makePod,
  makePolicy,
  makeService,
  named,
  pods,
  rule,
  up,
} from '../../support/policy-world.js';

const base: readonly WorldEvent[] = [
  up.namespace(makeNamespace('x')),
  up.namespace(makeNamespace('y', { team: 'red' })),
  up.pod(makePod('x/a', '10.0.0.1', { app: 'a' })),
  up.pod(makePod('x/b', '10.0.0.2', { app: 'b' })),
  up.pod(makePod('y/c', '10.0.1.1', { app: 'c' })),
];

type Expected = readonly [from: string, to: string, what: string | number, allowed: boolean];
type Step = readonly [event: WorldEvent | null, ...expected: Expected[]];

const stories: Readonly<Record<string, readonly Step[]>> = {
  '56 label changes of pods, of namespaces and of policies converge': [
    [
      up.policy(
        makePolicy('x/p', has({ app: 'a' }), {
          ingress: [rule([pods(has({ role: 'client' })), pods(undefined, has({ team: 'blue' }))])],
        }),
      ),
      ['x/b', 'x/a', 80, false],
      ['y/c', 'x/a', 80, false],
    ],
    [up.pod(makePod('x/b', '10.0.0.2', { app: 'b', role: 'client' })), ['x/b', 'x/a', 80, true]],
    [up.namespace(makeNamespace('y', { team: 'blue' })), ['y/c', 'x/a', 80, true]],
    [up.namespace(makeNamespace('y', { team: 'red' })), ['y/c', 'x/a', 80, false]],
    [up.pod(makePod('x/a', '10.0.0.1', { app: 'moved' })), ['y/c', 'x/a', 80, true]],
    [
      up.policy(makePolicy('x/p', everything, { ingress: [] })),
      ['y/c', 'x/a', 80, false],
      ['x/a', 'x/b', 80, false],
    ],
  ],
  "57 deleting a policy lifts its isolation, deleting one of two keeps the other's": [
    [up.policy(makePolicy('x/p', everything, { ingress: [] })), ['y/c', 'x/a', 80, false]],
    [up.policy(makePolicy('x/q', everything, { ingress: [], egress: [] })), ['x/a', 'y/c', 80, false]],
    [gone('policy', 'x/q'), ['y/c', 'x/a', 80, false], ['x/a', 'y/c', 80, true]],
    [gone('policy', 'x/p'), ['y/c', 'x/a', 80, true]],
  ],
  '58 a pod is enforced from the moment it has an address': [
    [up.policy(makePolicy('x/p', everything, { ingress: [] })), ['y/c', 'x/a', 80, false]],
    [up.pod(makePod('x/new', '', { app: 'new' })), ['y/c', 'x/a', 80, false]],
    [up.pod(makePod('x/new', '10.0.0.9', { app: 'new' })), ['y/c', '10.0.0.9', 80, false]],
  ],
  '60 removing the dead one of two pods with an address keeps it with the live one': [
    [
      up.policy(makePolicy('x/p', has({ app: 'a' }), { ingress: [rule([pods(has({ app: 'live' }))])] })),
      ['x/b', 'x/a', 80, false],
    ],
    [
      up.pod(makePod('x/dead', '10.0.0.9', { app: 'dead' }, { created: '2026-01-01T00:00:00Z' })),
      ['10.0.0.9', 'x/a', 80, false],
    ],
    [
      up.pod(makePod('x/live', '10.0.0.9', { app: 'live' }, { created: '2026-01-02T00:00:00Z' })),
      ['10.0.0.9', 'x/a', 80, true],
    ],
    [gone('pod', 'x/dead'), ['10.0.0.9', 'x/a', 80, true]],
    [gone('pod', 'x/live'), ['10.0.0.9', 'x/a', 80, false]],
  ],
  '59 a pod that finishes leaves the sets at once': [
    [
      up.policy(makePolicy('x/p', has({ app: 'a' }), { ingress: [rule([pods(has({ app: 'b' }))])] })),
      ['x/b', 'x/a', 80, true],
    ],
    [
      up.pod(makePod('x/b', '10.0.0.2', { app: 'b' }, { phase: 'Succeeded' })),
      ['10.0.0.2', 'x/a', 80, false],
    ],
  ],
  '63 a namespace that is told of late opens nothing before': [
    [
      up.policy(
        makePolicy('x/p', has({ app: 'a' }), {
          ingress: [rule([pods(undefined, expression('team', 'NotIn', 'red'))])],
        }),
      ),
      ['y/c', 'x/a', 80, false],
    ],
    [gone('namespace', 'y'), ['y/c', 'x/a', 80, false]],
    [up.namespace(makeNamespace('y', { team: 'red' })), ['y/c', 'x/a', 80, false]],
    [up.namespace(makeNamespace('y', { team: 'blue' })), ['y/c', 'x/a', 80, true]],
  ],
  '39 a named port follows the pod that gives it a number': [
    [
      up.policy(makePolicy('x/p', has({ app: 'a' }), { egress: [rule(null, [named('http')])] })),
      ['x/a', 'x/b', 80, false],
    ],
    [up.pod(makePod('x/b', '10.0.0.2', { app: 'b' }, { ports: ['http:80'] })), ['x/a', 'x/b', 80, true]],
    [
      up.pod(makePod('x/b', '10.0.0.2', { app: 'b' }, { ports: ['http:81'] })),
      ['x/a', 'x/b', 80, false],
      ['x/a', 'x/b', 81, true],
    ],
  ],
  '50 an address that becomes a node leaves the sets of pods': [
    [
      up.policy(makePolicy('x/p', has({ app: 'a' }), { ingress: [rule([pods(has({ app: 'b' }))])] })),
      ['10.0.0.2', 'x/a', 80, true],
    ],
    [up.node(makeNode('far', '10.0.0.2')), ['10.0.0.2', 'x/a', 80, false]],
    [gone('node', 'far'), ['10.0.0.2', 'x/a', 80, true]],
  ],
};

for (const [name, steps] of Object.entries(stories)) {
  test(name, () => {
    const world = World.of(base);
    const compiler = new Compiler(world, { allLocal: true });
    compiler.update();
    for (const [i, [event, ...expected]] of steps.entries()) {
      if (event !== null) world.apply(event);
      const answers = new Answers(world);
      // The follower's bytes are those of a fresh compile, so what is asked of one is answered by the other.
      assert.equal(Buffer.compare(compiler.update().image, answers.compiled.image), 0);
      for (const [from, to, what, allowed] of expected) {
        assert.equal(answers.allowed(from, to, what), allowed, `step ${i}: ${from} -> ${to} ${what}`);
      }
    }
  });
}

test('conflicts over addresses are problems that name who has it, and go when it is settled', () => {
  const world = World.of([
    ...base,
    up.pod(makePod('x/twin', '10.0.0.1', {}, { created: '2026-01-01T00:00:00Z' })),
    up.service(makeService('x/one', ['10.96.0.1'], { app: 'a' })),
    up.service(
      makeService(
        'x/two',
        ['10.96.0.2'],
        { app: 'a' },
        { externalIPs: makePod('x/_', '10.96.0.1').addresses },
      ),
    ),
  ]);
  const compiler = new Compiler(world, { allLocal: true });
  const codes = () =>
    compiler.update().problems.map(({ code, message }) => [code, /x\/(twin|one)/.test(message)]);
  assert.deepEqual(codes(), [
    ['address-conflict', true],
    ['service-address-conflict', true],
  ]);
  world.apply(gone('pod', 'x/twin'));
  world.apply(gone('service', 'x/two'));
  assert.deepEqual(codes(), []);
});

test('the figures of a compile count what is in force', () => {
  const { stats } = new Answers(
    World.of([
      ...base,
      up.policy(makePolicy('x/p', has({ app: 'a' }), { ingress: [rule([pods(has({ app: 'b' }))])] })),
      up.policy(makePolicy('x/unused', has({ app: 'nobody' }), { ingress: [] })),
    ]),
  ).compiled;
  assert.deepEqual(
    [
      stats.pods,
      stats.localPods,
      stats.policies,
      stats.policiesInForce,
      stats.rulesInForce,
      stats.identities,
      stats.rows,
    ],
    [3, 3, 2, 1, 1, 2, 1],
  );
});
