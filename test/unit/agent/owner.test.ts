import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ownerOf } from '../../../src/agent/owner.js';

const cases: readonly (readonly [
  kind: string,
  name: string,
  labels: Record<string, string>,
  owner: string,
])[] = [
  ['a Deployment', 'web-7d4b9c5f6-x2x4z', { 'pod-template-hash': '7d4b9c5f6' }, 'web'],
  ['a bare ReplicaSet that kept the label', 'odd-x2x4z', { 'pod-template-hash': '7d4b9c5f6' }, 'odd-x2x4z'],
  [
    'a StatefulSet',
    'db-0',
    { 'statefulset.kubernetes.io/pod-name': 'db-0', 'controller-revision-hash': 'db-7f' },
    'db',
  ],
  ['a DaemonSet', 'agent-x2x4z', { 'controller-revision-hash': '7f' }, 'agent'],
  ['a Job', 'nightly-28-abcde', { 'batch.kubernetes.io/job-name': 'nightly-28' }, 'nightly-28'],
  ['a pod of its own', 'tool', {}, 'tool'],
];
for (const [kind, name, labels, owner] of cases) {
  test(`the workload of ${kind}`, () => {
    assert.equal(ownerOf({ name, labels: new Map(Object.entries(labels)) }), owner);
  });
}
