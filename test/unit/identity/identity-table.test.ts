import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hashSet, hashText } from '../../../src/identity/hash.js';
import { podTerm, termText } from '../../../src/identity/term.js';
import { everything } from '../../../src/model/selector.js';
import {
  Answers,
  ask,
  block,
  expression,
  has,
  makeNamespace,
  makePod,
  makePolicy,
  named,
  pods,
  port,
  rule,
  up,
} from '../../support/policy-world.js';

const namespaces = [
  up.namespace(makeNamespace('x', { team: 'red' })),
  up.namespace(makeNamespace('y', { team: 'blue' })),
  up.namespace(makeNamespace('z', { team: 'green' })),
];

function identitiesOf(answers: ReturnType<typeof ask>, ...ends: string[]): (number | undefined)[] {
  return ends.map((end) => answers.compiled.explain.identityOf(answers.addressOf(end)!));
}

test('pods that no policy can tell apart share one identity, whatever else their labels say', () => {
  const answers = ask(
    namespaces,
    up.pod(makePod('x/a', '10.0.0.1', { app: 'web', hash: '1' })),
    up.pod(makePod('x/b', '10.0.0.2', { app: 'web', hash: '2' })),
    up.pod(makePod('x/c', '10.0.0.3', { app: 'db' })),
    up.policy(makePolicy('x/p', everything, { ingress: [rule([pods(has({ app: 'web' }))])] })),
  );
  const [a, b, c] = identitiesOf(answers, 'x/a', 'x/b', 'x/c');
  assert.equal(a, b);
  assert.notEqual(a, c);
  assert.equal(answers.compiled.stats.identities, 2);
});

test('values that nobody names are one, and so are values that only stand together', () => {
  const answers = ask(
    namespaces,
    up.pod(makePod('x/a', '10.0.0.1', { tier: 'one' })),
    up.pod(makePod('x/b', '10.0.0.2', { tier: 'two' })),
    up.pod(makePod('x/c', '10.0.0.3', { tier: 'three' })),
    up.pod(makePod('x/d', '10.0.0.4', { tier: 'four' })),
    up.policy(
      makePolicy('x/p', everything, { ingress: [rule([pods(expression('tier', 'In', 'one', 'two'))])] }),
    ),
  );
  const [a, b, c, d] = identitiesOf(answers, 'x/a', 'x/b', 'x/c', 'x/d');
  assert.equal(a, b);
  assert.equal(c, d);
  assert.notEqual(a, c);
});

test('a label that only selectors of another namespace ask about tells nobody apart', () => {
  const answers = ask(
    namespaces,
    up.pod(makePod('x/a', '10.0.0.1', {})),
    up.pod(makePod('y/a', '10.0.1.1', { app: 'web' })),
    up.pod(makePod('z/a', '10.0.2.1', { app: 'db' })),
    up.policy(makePolicy('x/p', everything, { ingress: [rule([pods(has({ app: 'web' }))])] })),
  );
  const [x, y, z] = identitiesOf(answers, 'x/a', 'y/a', 'z/a');
  assert.equal(y, z);
  // x/a does not match app=web either, so it too is one with them.
  assert.equal(x, y);
});

test('policies that select no local pod tell nobody apart', () => {
  const events = [
    ...namespaces,
    up.pod(makePod('x/a', '10.0.0.1', { app: 'web' }, { nodeName: 'far' })),
    up.pod(makePod('x/b', '10.0.0.2', { app: 'db' }, { nodeName: 'near' })),
    up.pod(makePod('y/c', '10.0.0.3', {}, { nodeName: 'near' })),
    up.policy(makePolicy('x/p', has({ app: 'web' }), { ingress: [rule([pods(has({ app: 'db' }))])] })),
  ];
  const near = ask(events);
  assert.equal(near.compiled.stats.identities, 2);
  const { compiled } = new Answers(near.world, { node: 'near' });
  assert.equal(compiled.stats.policiesInForce, 0);
  assert.equal(compiled.stats.identities, 1);
});

test('numbers behind the named ports in force tell pods apart, other ports do not', () => {
  const answers = ask(
    namespaces,
    up.pod(makePod('x/a', '10.0.0.1', {}, { ports: ['http:80', 'other:1'] })),
    up.pod(makePod('x/b', '10.0.0.2', {}, { ports: ['http:80', 'other:2'] })),
    up.pod(makePod('x/c', '10.0.0.3', {}, { ports: ['http:81'] })),
    up.policy(makePolicy('x/p', everything, { egress: [rule(null, [named('http')])] })),
  );
  const [a, b, c] = identitiesOf(answers, 'x/a', 'x/b', 'x/c');
  assert.equal(a, b);
  assert.notEqual(a, c);
});

test('the addresses of one pod are two identities only where a block and a named port are joined', () => {
  const pod = up.pod(makePod('x/a', ['10.0.0.1', 'fd00::1'], {}, { ports: ['http:80'] }));
  const identities = (...rules: Parameters<typeof rule>[]) => {
    const answers = ask(
      namespaces,
      pod,
      up.policy(makePolicy('x/p', everything, { egress: rules.map((of) => rule(...of)) })),
    );
    return new Set([
      answers.compiled.explain.identityOf(answers.addressOf('x/a', 4)!),
      answers.compiled.explain.identityOf(answers.addressOf('x/a', 6)!),
    ]).size;
  };
  assert.equal(identities([[block('10.0.0.0/8')], [port(80)]], [null, [named('http')]]), 1);
  assert.equal(identities([[block('10.0.0.0/8')], [named('http')]]), 2);
});

test('63 of a namespace that nobody has told of only the name is known', () => {
  const answers = ask(
    up.namespace(makeNamespace('x')),
    up.pod(makePod('x/a', '10.0.0.1', { app: 'a' })),
    up.pod(makePod('x/b', '10.0.0.2', { app: 'b' })),
    up.pod(makePod('x/c', '10.0.0.3', { app: 'c' })),
    up.pod(makePod('x/d', '10.0.0.4', { app: 'd' })),
    up.pod(makePod('late/p', '10.0.9.1')),
    up.policy(
      makePolicy('x/a', has({ app: 'a' }), {
        ingress: [rule([pods(undefined, expression('team', 'NotIn', 'red'))])],
      }),
    ),
    up.policy(
      makePolicy('x/b', has({ app: 'b' }), {
        ingress: [rule([pods(undefined, expression('team', 'DoesNotExist'))])],
      }),
    ),
    up.policy(
      makePolicy('x/c', has({ app: 'c' }), {
        ingress: [rule([pods(undefined, has({ 'kubernetes.io/metadata.name': 'late' }))])],
      }),
    ),
    up.policy(makePolicy('x/d', has({ app: 'd' }), { ingress: [rule([pods(undefined, everything)])] })),
  );
  assert.equal(answers.allowed('late/p', 'x/a', 80), false, 'NotIn');
  assert.equal(answers.allowed('late/p', 'x/b', 80), false, 'DoesNotExist');
  assert.equal(answers.allowed('late/p', 'x/c', 80), true, 'its name');
  assert.equal(answers.allowed('late/p', 'x/d', 80), true, 'every namespace');
});

test('the hash of an identity depends on neither the order of its terms nor on other identities', () => {
  const terms = ['a', 'b', 'c'].map((text) => ({ hash: hashText(text) }));
  assert.deepEqual(hashSet(terms), hashSet([...terms].reverse()));
  assert.notDeepEqual(hashSet(terms), hashSet(terms.slice(1)));
  assert.notDeepEqual(hashText('ab'), hashText('ba'));

  const small = [
    ...namespaces,
    up.pod(makePod('x/a', '10.0.0.1', { app: 'web' })),
    up.policy(makePolicy('x/p', everything, { ingress: [rule([pods(has({ app: 'web' }))])] })),
  ];
  const alone = ask(small);
  const among = ask(
    small,
    up.pod(makePod('x/b', '10.0.0.2', { app: 'db' })),
    up.pod(makePod('y/c', '10.0.0.3')),
  );
  const hash = (of: typeof alone) => of.image.identityHash(of.image.classify(of.addressOf('x/a')!).peerClass);
  assert.ok(hash(alone));
  assert.equal(hash(alone), hash(among));
});

test('peers that mean the same pods ask one question', () => {
  const texts = (...peers: Parameters<typeof podTerm>[0][]) =>
    peers.map((peer) => {
      const spec = podTerm(peer, 'x');
      return spec === 'every-pod' ? spec : termText(spec);
    });
  const [a, b] = texts(pods(undefined, has({ team: 'red' })), pods(everything, has({ team: 'red' })));
  assert.equal(a, b);
  assert.deepEqual(texts(pods(undefined, everything), pods(everything, everything)), [
    'every-pod',
    'every-pod',
  ]);
  const [own, any] = texts(pods(everything), pods(has({ app: 'web' }), everything));
  assert.notEqual(own, any);
});
