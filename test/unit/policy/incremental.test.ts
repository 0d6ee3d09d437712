/** The image is a function of the World's contents: no history shows in its bytes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type CompileOptions, Compiler, compile } from '../../../src/image/compile.js';
import { kinds, type WorldEvent } from '../../../src/model/event.js';
import type { PolicyPeer, PolicyPort, PolicyRule } from '../../../src/model/policy.js';
import type { Selector } from '../../../src/model/selector.js';
import { World } from '../../../src/model/world.js';
import { address } from '../../../src/net/address.js';
import { cidr } from '../../../src/net/cidr.js';
import {
  all,
  block,
  expression,
  gone,
  has,
  makeNamespace,
  makeNode,
  makePod,
  makePolicy,
  makeService,
  named,
  nothing,
  pods,
  port,
  rule,
  up,
} from '../../support/policy-world.js';

const seed = 20_261_121;

const namespaceNames = ['x', 'y', 'z'];
const ips = [
  '10.0.0.1',
  '10.0.0.2',
  '10.0.0.3',
  '10.0.1.1',
  '10.0.1.2',
  '192.168.0.1',
  'fd00::1',
  'fd00::2',
  'fd00:1::1',
];

/** A pod mostly has addresses of its own; the rest of the time it takes some from the common list and conflicts with others. */
function usualAddresses(namespace: string, name: string): string[] {
  const i = namespaceNames.indexOf(namespace) * 3 + 'abc'.indexOf(name);
  return [`10.0.${i % 2}.${10 + i}`, `fd00::${10 + i}`];
}

const labelArb = fc.dictionary(fc.constantFrom('app', 'tier'), fc.constantFrom('a', 'b', 'c'), {
  maxKeys: 2,
});

const selectorArb: fc.Arbitrary<Selector> = fc.oneof(
  labelArb.map(has),
  fc
    .tuple(
      fc.constantFrom('app', 'tier', 'kubernetes.io/metadata.name'),
      fc.constantFrom('In', 'NotIn', 'Exists', 'DoesNotExist'),
      fc.subarray(['a', 'b', 'x', 'y'], { minLength: 1 }),
    )
    .map(([key, operator, values]) =>
      operator === 'In' || operator === 'NotIn'
        ? expression(key, operator, ...values)
        : expression(key, operator as 'Exists' | 'DoesNotExist'),
    ),
);

const peerArb: fc.Arbitrary<PolicyPeer> = fc.oneof(
  selectorArb.map((own) => pods(own)),
  selectorArb.map((space) => pods(undefined, space)),
  fc.tuple(selectorArb, selectorArb).map(([own, space]) => pods(own, space)),
  fc.constantFrom(
    block('0.0.0.0/0'),
    block('0.0.0.0/0', '10.0.0.0/8'),
    block('10.0.0.0/8', '10.0.0.0/24', '10.0.0.2/32'),
    block('10.0.0.0/24'),
    block('10.0.1.0/31', '10.0.1.1/32'),
    block('10.0.0.2/32'),
    block('::/0', 'fd00::/64'),
    block('fd00::/16'),
    nothing,
  ),
);

const portArb: fc.Arbitrary<PolicyPort> = fc.oneof(
  fc
    .tuple(fc.integer({ min: 78, max: 83 }), fc.integer({ min: 0, max: 4 }))
    .map(([first, more]) => port(first, 'TCP', first + more)),
  fc.constantFrom(named('http'), named('dns', 'UDP'), all('UDP'), all('SCTP'), nothing),
);

const ruleArb: fc.Arbitrary<PolicyRule> = fc
  .tuple(
    fc.option(fc.array(peerArb, { minLength: 1, maxLength: 3, size: 'max' })),
    fc.option(fc.array(portArb, { minLength: 1, maxLength: 3, size: 'max' })),
  )
  .map(([peers, ports]) => rule(peers, ports));

const rulesArb = fc.option(fc.array(ruleArb, { maxLength: 3, size: 'max' }), { nil: undefined });

const eventArb: fc.Arbitrary<WorldEvent> = fc.oneof(
  {
    weight: 1,
    arbitrary: fc
      .tuple(fc.constantFrom(...namespaceNames), labelArb)
      .map(([name, labels]) => up.namespace(makeNamespace(name, labels))),
  },
  { weight: 1, arbitrary: fc.constantFrom(...namespaceNames).map((name) => gone('namespace', name)) },
  {
    weight: 6,
    arbitrary: fc
      .record({
        namespace: fc.constantFrom(...namespaceNames),
        name: fc.constantFrom('a', 'b', 'c'),
        own: fc.oneof(
          { weight: 1, arbitrary: fc.subarray(ips, { maxLength: 2 }) },
          { weight: 3, arbitrary: fc.constant(null) },
        ),
        labels: labelArb,
        node: fc.constantFrom('one', 'two'),
        host: fc.integer({ min: 0, max: 9 }),
        phase: fc.constantFrom('Running', 'Running', 'Running', 'Succeeded'),
        created: fc.constantFrom('', '2026-01-01T00:00:00Z', '2026-01-02T00:00:00Z'),
        terminating: fc.integer({ min: 0, max: 5 }),
        ports: fc.subarray(['http:80', 'http:81', 'dns:53/UDP', 'http:82/UDP']),
        uid: fc.constantFrom('', '1', '2'),
        told: fc.oneof(
          { weight: 3, arbitrary: fc.constant<string[]>([]) },
          { weight: 1, arbitrary: fc.subarray(['192.168.0.1', '10.0.0.2', 'fd00::1']) },
        ),
      })
      .map((of) =>
        up.pod(
          makePod(`${of.namespace}/${of.name}`, of.own ?? usualAddresses(of.namespace, of.name), of.labels, {
            nodeName: of.node,
            uid: of.uid,
            hostAddresses: of.told.map(address),
            hostNetwork: of.host === 0,
            phase: of.phase as 'Running' | 'Succeeded',
            created: of.created,
            terminating: of.terminating === 0,
            ports: of.ports,
          }),
        ),
      ),
  },
  {
    weight: 2,
    arbitrary: fc
      .tuple(
        fc.constantFrom(...namespaceNames),
        fc.constantFrom('a', 'b', 'c'),
        fc.constantFrom(undefined, undefined, '1'),
      )
      .map(([namespace, name, uid]) => gone('pod', `${namespace}/${name}`, uid)),
  },
  {
    weight: 4,
    arbitrary: fc
      .tuple(
        fc.constantFrom(...namespaceNames),
        fc.constantFrom('p', 'q'),
        fc.oneof(fc.constant(has({})), selectorArb),
        rulesArb,
        rulesArb,
      )
      .map(([namespace, name, select, ingress, egress]) =>
        up.policy(
          makePolicy(`${namespace}/${name}`, select, {
            ...(ingress === undefined ? {} : { ingress }),
            ...(egress === undefined ? {} : { egress }),
          }),
        ),
      ),
  },
  {
    weight: 1,
    arbitrary: fc
      .tuple(fc.constantFrom(...namespaceNames), fc.constantFrom('p', 'q'))
      .map(([namespace, name]) => gone('policy', `${namespace}/${name}`)),
  },
  {
    weight: 1,
    arbitrary: fc
      .tuple(
        fc.constantFrom('one', 'two'),
        fc.subarray(['192.168.0.1', '10.0.0.3', 'fd00::2']),
        // Whose second address, the host's, a pod may claim or another node have.
        fc.subarray(['10.0.0.0/29', 'fd00::/126', '192.168.0.0/24', '10.0.1.0/31']),
      )
      .map(([name, own, blocks]) => up.node({ ...makeNode(name, ...own), podCidrs: blocks.map(cidr) })),
  },
  { weight: 1, arbitrary: fc.constantFrom('one', 'two').map((name) => gone('node', name)) },
  {
    weight: 1,
    arbitrary: fc
      .tuple(
        fc.constantFrom(...namespaceNames),
        fc.subarray(['10.96.0.1', 'fd96::1', '10.0.0.1']),
        labelArb,
        fc.constantFrom('ClusterIP', 'NodePort'),
      )
      .map(([namespace, own, select, type]) =>
        up.service(
          makeService(`${namespace}/s`, own, select, {
            type: type as 'ClusterIP' | 'NodePort',
            ports: [{ name: 'web', protocol: 'TCP', port: 80, targetPort: 'http', nodePort: 30_080 }],
          }),
        ),
      ),
  },
  { weight: 1, arbitrary: fc.constantFrom(...namespaceNames).map((name) => gone('service', `${name}/s`)) },
);

export const historyArb = fc.array(eventArb, { minLength: 10, maxLength: 80, size: 'max' });
const optionsArb: fc.Arbitrary<CompileOptions> = fc.constantFrom(
  { allLocal: true },
  { node: 'one' },
  { node: 'two' },
  {},
);

function same(actual: Uint8Array, expected: Uint8Array, message: string): void {
  assert.equal(Buffer.compare(actual, expected), 0, message);
}

test('after every event the bytes are those of the same world compiled from nothing', () => {
  fc.assert(
    fc.property(historyArb, optionsArb, (history, options) => {
      const world = new World();
      const compiler = new Compiler(world, options);
      history.forEach((event, i) => {
        world.apply(event);
        same(compiler.update().image, compile(world.copy(), options).image, `after event ${i}`);
      });
    }),
    { seed, numRuns: 120 },
  );
});

test('squashing events into any batches gives the same bytes as one at a time', () => {
  fc.assert(
    fc.property(historyArb, optionsArb, fc.integer({ min: 2, max: 9 }), (history, options, every) => {
      const world = new World();
      const compiler = new Compiler(world, options);
      history.forEach((event, i) => {
        world.apply(event);
        if (i % every === 0) compiler.update();
      });
      same(compiler.update().image, compile(world, options).image, 'batched');
    }),
    { seed, numRuns: 120 },
  );
});

test('the order in which objects arrive does not show', () => {
  fc.assert(
    fc.property(historyArb, optionsArb, (history, options) => {
      const final = World.of(history);
      const objects = kinds.flatMap((kind) =>
        [...final.all(kind).values()].map((object) => ({ type: 'upsert', kind, object }) as WorldEvent),
      );
      const reversed = World.of([...objects].reverse());
      same(compile(reversed, options).image, compile(final, options).image, 'reversed');
    }),
    { seed, numRuns: 200 },
  );
});

test('after the teardown the bytes are those of an empty world', () => {
  fc.assert(
    fc.property(historyArb, optionsArb, (history, options) => {
      const world = new World();
      const compiler = new Compiler(world, options);
      for (const event of history) world.apply(event);
      compiler.update();
      for (const kind of kinds) {
        for (const object of [...world.all(kind).values()]) {
          const key = 'namespace' in object ? `${object.namespace}/${object.name}` : object.name;
          world.apply(gone(kind, key));
          compiler.update();
        }
      }
      same(compiler.update().image, compile(new World(), options).image, 'torn down');
    }),
    { seed, numRuns: 100 },
  );
});

test('a compiler that fell behind the journal looks at everything again', () => {
  const world = World.of([
    up.pod(makePod('x/a', '10.0.0.1')),
    up.policy(makePolicy('x/p', has({}), { ingress: [] })),
  ]);
  const compiler = new Compiler(world, { allLocal: true });
  compiler.update();
  world.apply(gone('policy', 'x/p'));
  for (let i = 0; i < 70_000; i++) world.apply(up.pod(makePod('x/b', '10.0.0.2', { app: `${i % 2}` })));
  same(compiler.update().image, compile(world, { allLocal: true }).image, 'behind');
});

test('nor does it remember a namespace that was gone when it looked', () => {
  const world = World.of([
    up.pod(makePod('x/a', '10.0.0.1')),
    up.namespace(makeNamespace('y', { team: 'blue' })),
    up.pod(makePod('y/b', '10.0.0.2')),
    up.policy(
      makePolicy('x/p', has({}), { ingress: [rule([pods(undefined, expression('team', 'NotIn', 'red'))])] }),
    ),
  ]);
  const compiler = new Compiler(world, { allLocal: true });
  compiler.update();
  world.apply(gone('pod', 'y/b'));
  compiler.update();
  world.apply(gone('namespace', 'y'));
  for (let i = 0; i < 70_000; i++) world.apply(up.pod(makePod('x/b', '10.0.0.3', { app: `${i % 2}` })));
  compiler.update();
  world.apply(up.pod(makePod('y/b', '10.0.0.2')));
  same(compiler.update().image, compile(world, { allLocal: true }).image, 'a namespace told of later');
});
