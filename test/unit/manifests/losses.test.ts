/** Objects that are not read although they close something must be refused, not left out. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { losses } from '../../../src/manifests/losses.js';
import { parseManifests } from '../../../src/manifests/parse.js';
import { readManifests } from '../../../src/manifests/read.js';

const version = 'apiVersion: networking.k8s.io/v1\n';
const rest = 'metadata: {name: deny, namespace: a}\nspec: {podSelector: {}}';

describe('what would be left out', () => {
  const lost: [what: string, text: string, code: string, line: number, column: number][] = [
    ['the core group', `apiVersion: v1\nkind: NetworkPolicy\n${rest}`, 'unknown-kind', 1, 13],
    [
      'a group without its version',
      `apiVersion: networking.k8s.io\nkind: NetworkPolicy\n${rest}`,
      'unknown-kind',
      1,
      13,
    ],
    [
      'another group of Kubernetes',
      `apiVersion: policy/v1\nkind: NetworkPolicy\n${rest}`,
      'unknown-kind',
      1,
      13,
    ],
    [
      'a misspelt group',
      `apiVersion: networking.k8s.oi/v1\nkind: NetworkPolicy\n${rest}`,
      'unknown-kind',
      1,
      13,
    ],
    ['a misspelt kind', `${version}kind: NetworkPolcy\n${rest}`, 'unknown-kind', 2, 7],
    ['half a kind', `${version}kind: Netw\n${rest}`, 'unknown-kind', 2, 7],
    ['a plural', `${version}kind: NetworkPolicies\n${rest}`, 'unknown-kind', 2, 7],
    ['two words', `kind: Network Policy\n${rest}`, 'unknown-kind', 1, 7],
    ['no kind', `${version}${rest}`, 'missing-kind', 1, 1],
    ['no name', `${version}kind: NetworkPolicy\nmetadata: {namespace: a}`, 'missing-name', 3, 11],
    [
      'a number as name',
      `${version}kind: NetworkPolicy\nmetadata: {name: 7, namespace: a}`,
      'wrong-type',
      3,
      18,
    ],
    [
      'a number as namespace',
      `${version}kind: NetworkPolicy\nmetadata: {name: d, namespace: 7}`,
      'wrong-type',
      3,
      32,
    ],
    [
      'a misspelt namespace',
      `${version}kind: NetworkPolicy\nmetadata: {name: d, namspace: a}`,
      'unknown-field',
      3,
      21,
    ],
    [
      'metadata that are a list',
      `${version}kind: NetworkPolicy\nmetadata: [{name: d}]`,
      'missing-name',
      3,
      11,
    ],
    [
      'a policy inside of another object',
      `apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\nspec:\n  policy: {kind: NetworkPolicy, spec: {podSelector: {}}}`,
      'policy-inside-object',
      5,
      3,
    ],
    [
      'labels of a namespace that a NotIn would miss',
      'apiVersion: v1\nkind: Namespace\nmetadata: {name: a, labels: {quarantine: true}}',
      'wrong-type',
      3,
      42,
    ],
    [
      'a namespace with a number as name',
      'apiVersion: v1\nkind: Namespace\nmetadata: {name: 7}',
      'wrong-type',
      3,
      18,
    ],
  ];
  for (const [what, text, code, line, column] of lost) {
    test(`${what}: ${code} at ${line}:${column}`, () => {
      const { objects } = parseManifests(text, 'x.yaml');
      const found = losses(objects).find((problem) => problem.code === code);
      assert.deepEqual(
        [found?.source?.line, found?.source?.column],
        [line, column],
        JSON.stringify(losses(objects)),
      );
      assert.ok(found?.fix);
    });
  }

  const kept: [what: string, text: string][] = [
    ['a policy with faults that is read closed', `${version}kind: NetworkPolicy\n${rest}\nextra: {}`],
    ['a policy without apiVersion', `kind: NetworkPolicy\n${rest}`],
    [
      'a policy in the default namespace',
      `${version}kind: NetworkPolicy\nmetadata: {name: d, labels: {a: b}}`,
    ],
    [
      'a policy of another product',
      'apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {name: d}',
    ],
    [
      'the cluster policies',
      'apiVersion: policy.networking.k8s.io/v1alpha1\nkind: AdminNetworkPolicy\nmetadata: {name: d}',
    ],
    ['a neighbour of policies', `${version}kind: IngressClass\nmetadata: {name: d}`],
    ['what has no kind and is no policy', 'replicas: 3\nimage: {tag: v1}'],
    [
      'a pod whose labels cannot be read: it is absent',
      'apiVersion: v1\nkind: Pod\nmetadata: {name: p, labels: {a: 1}}',
    ],
    ['a knative Service', 'apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: s}'],
  ];
  for (const [what, text] of kept) {
    test(`${what} is not lost`, () => {
      const { objects, problems } = parseManifests(text, 'x.yaml');
      assert.deepEqual([problems, losses(objects)], [[], []]);
    });
  }

  test('the items of a list that are no list are an error of reading', () => {
    const text = `apiVersion: v1\nkind: List\nitems:\n  ${version}  kind: NetworkPolicy\n  metadata: {name: d}\n`;
    const { problems } = parseManifests(text, 'x.yaml');
    assert.deepEqual(
      problems.map(({ code, source }) => [code, source?.line]),
      [['not-an-object', 3]],
    );
    assert.deepEqual(parseManifests('apiVersion: v1\nkind: List\nitems:\n', 'x.yaml').problems, []);
  });

  test('the examples lose nothing', () => {
    const { written } = readManifests(['config/examples']);
    assert.deepEqual([written.length > 30, losses(written)], [true, []]);
  });
});
