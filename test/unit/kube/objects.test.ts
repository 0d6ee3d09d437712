/** No object of the API can crash the agent or open a policy; what is kept of the others is what weft uses, once. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Compactor } from '../../../src/kube/compact.js';
import { type Decoded, decode, resourceOf, resources } from '../../../src/kube/resource.js';
import { Store } from '../../../src/kube/store.js';
import { decodePod } from '../../../src/manifests/decode-pod.js';
import type { Kind } from '../../../src/model/event.js';
import type { NetworkPolicy } from '../../../src/model/policy.js';
import { pod } from '../../support/kube.js';

const fields = fc.constantFrom(
  ...(
    'metadata spec status labels podSelector policyTypes ingress egress from to ports ipBlock cidr except matchLabels matchExpressions key ' +
    'operator values podIPs ip hostIPs containers initContainers clusterIPs selector endpoints addresses conditions topology addressType ' +
    '__proto__ constructor toString length nodeName podCIDRs name namespace uid'
  ).split(' '),
);
const anything = fc.letrec<{ any: unknown }>((tie) => ({
  any: fc.oneof(
    { maxDepth: 6 },
    fc.constantFrom<unknown>(
      null,
      true,
      0,
      -1,
      1.5,
      70_000,
      '',
      'x',
      'Ingress',
      '10.0.0.0/8',
      'fd00::1',
      'In',
      '\u0000',
    ),
    fc.string({ maxLength: 5 }),
    fc.array(tie('any'), { maxLength: 3 }),
    fc.dictionary(fields, tie('any'), { maxKeys: 4 }),
  ),
})).any;

const decodeAs = (kind: Kind, value: unknown) => decode(resourceOf(kind), value, new Compactor());

test('anything at all is decoded without a throw; a policy among it isolates', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...resources),
      anything,
      anything,
      anything,
      (resource, spec, status, more) => {
        // As it comes: through JSON, where a field may be called __proto__.
        const text = JSON.stringify({
          metadata: { name: 'a', namespace: 'b', labels: more, resourceVersion: '7' },
          spec,
          status,
        });
        const decoded = decode(resource, JSON.parse(text), new Compactor());
        assert.ok(decoded !== undefined);
        if (resource.kind !== 'policy') return;
        const object = decoded.object as NetworkPolicy;
        assert.ok(object.ingress !== null || object.egress !== null);
        new Store('policy').put(decoded);
      },
    ),
    { numRuns: 3000, seed: 5 },
  );
});

test('what is no object with a name is nothing', () => {
  for (const value of [
    null,
    1,
    'x',
    [],
    {},
    { metadata: null },
    { metadata: { name: '' } },
    { metadata: { name: 'pod-without-namespace' } },
  ])
    assert.equal(decodeAs('pod', value), undefined);
});

test('a nesting that no stack holds is decoded too', () => {
  const deep = `${'['.repeat(200_000)}${']'.repeat(200_000)}`;
  for (const { kind } of resources) {
    const decoded = decodeAs(
      kind,
      JSON.parse(
        `{"metadata":{"name":"a","namespace":"b"},"spec":{"podSelector":{"matchLabels":${deep}},"ingress":${deep},"ports":${deep}}}`,
      ),
    );
    assert.ok(decoded);
    if (kind === 'policy') assert.deepEqual((decoded.object as NetworkPolicy).ingress, []);
  }
});

const broken: readonly (readonly [string, object])[] = [
  ['a field that nobody knows', { podSelector: {}, ingress: [{}], policyTypez: ['Egress'] }],
  ['a selector that is none', { podSelector: { matchLabels: 'app=web' }, ingress: [{}] }],
  ['policyTypes that are none', { podSelector: {}, policyTypes: ['Both'] }],
  ['rules that are no list', { podSelector: {}, ingress: { from: [] } }],
];
for (const [name, spec] of broken)
  test(`a policy with ${name} isolates, allows nothing to anyone, and is told`, () => {
    const decoded = decodeAs('policy', { metadata: { name: 'p', namespace: 'n' }, spec });
    assert.ok(decoded);
    const object = decoded.object as NetworkPolicy;
    assert.deepEqual(
      object.ingress?.filter((rule) => rule.peers === null),
      [],
    );
    assert.ok(decoded.problems.length > 0);
    assert.equal(decoded.problems[0]?.source?.file, 'networkpolicies/n/p');
  });

test('what a real server adds to a policy is no problem', () => {
  const decoded = decodeAs('policy', {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: {
      name: 'p',
      namespace: 'n',
      uid: 'u',
      resourceVersion: '12',
      generation: 1,
      creationTimestamp: '2026-01-01T00:00:00Z',
      selfLink: '/apis/x',
      annotations: { 'kubectl.kubernetes.io/last-applied-configuration': '{}' },
      ownerReferences: [{ kind: 'X', name: 'x', uid: 'x', apiVersion: 'v1' }],
      managedFields: [{ manager: 'kubectl', operation: 'Update', fieldsV1: { 'f:spec': {} } }],
    },
    spec: { podSelector: {}, ingress: [{ from: [{ podSelector: {} }] }], policyTypes: ['Ingress'] },
    status: {},
  });
  assert.deepEqual(decoded?.problems, []);
});

test('a pod whose labels cannot be read is taken away; it comes back when they can', () => {
  const store = new Store('pod');
  const at = (version: number, labels: unknown): Decoded =>
    decodeAs('pod', { metadata: { name: 'a', namespace: 'b', resourceVersion: String(version), labels } })!;
  assert.equal(store.put(at(1, { a: 'b' }))[0]?.type, 'upsert');
  assert.equal(store.put(at(2, { a: 5 }))[0]?.type, 'delete');
  assert.equal(store.problems.length, 1);
  assert.equal(store.put(at(3, { a: 'b' }))[0]?.type, 'upsert');
  assert.deepEqual(store.problems, []);
});

test('compaction changes no value, and labels with odd characters stay apart', () => {
  const compactor = new Compactor();
  const value = pod('a', { app: 'web' }) as never;
  assert.deepEqual(compactor.pod(decodePod(value)!), decodePod(value));
  assert.notDeepEqual(
    compactor.labels(new Map([['a', 'b,c=d']])),
    compactor.labels(
      new Map([
        ['a', 'b'],
        ['c', 'd'],
      ]),
    ),
  );
  const [one, other] = ['p', 'q'].map((name) =>
    compactor.pod(decodePod(pod(name, { app: 'web' }) as never)!),
  );
  assert.equal(one?.labels, other?.labels);
  assert.equal(one?.ports, other?.ports);
});
