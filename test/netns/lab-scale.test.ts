/** Two hundred pods come and go, several times, and nothing of them is left: no namespace, no descriptor, no growing memory. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { inside } from '../../src/lab/launch.js';
import { startTestLab, type TestLab } from '../support/lab.js';
import { pidNamespace, processesIn } from '../support/weft.js';

const count = 200;
const pods = Array.from({ length: count }, (_, i) => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { namespace: `n${i % 10}`, name: `p${i}`, labels: { app: `a${i % 7}` } },
  spec: { containers: [{ name: 'c', ports: [{ containerPort: 80 }] }] },
}));
const policy = {
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: { namespace: 'n0', name: 'same' },
  spec: { podSelector: {}, ingress: [{ from: [{ podSelector: {} }] }] },
};

describe(`${count} pods`, () => {
  let lab: TestLab;
  before(async () => {
    lab = await startTestLab();
  });
  after(() => lab?.end());

  const namespaces = () => readdirSync(inside(lab.client.lab, '/run/netns')).length;
  const descriptors = () =>
    processesIn(pidNamespace(lab.client.lab.pid))
      .map((pid) => {
        try {
          return {
            name: readFileSync(`/proc/${pid}/comm`, 'utf8').trim(),
            open: readdirSync(`/proc/${pid}/fd`).length,
          };
        } catch {
          return { name: '', open: 0 };
        }
      })
      .reduce((sum, { open }) => sum + open, 0);

  test('come up, are enforced, and go, twice, without a leak', async (context) => {
    await lab.replace([]);
    const before = descriptors();
    for (let round = 0; round < 2; round++) {
      const started = performance.now();
      await lab.replace([...pods, policy]);
      context.diagnostic(`${count} pods up in ${(performance.now() - started).toFixed(0)} ms`);
      assert.equal(namespaces(), count);
      const { pods: running } = await lab.client.request('status', {});
      assert.equal(running.filter(({ state }) => state === 'enforced').length, count);
      const from = ['n0/p0', 'n1/p1'];
      const { cells } = await lab.client.request('probe', { selection: { from, families: [4] } });
      assert.equal(cells.length, 2 * (count - 1));
      assert.deepEqual(
        cells.filter(({ agrees }) => !agrees),
        [],
      );
      assert.equal(
        cells.filter(({ measured }) => measured === 'denied').length,
        count / 10,
        'n1 may not into n0',
      );
      const ended = performance.now();
      await lab.replace([]);
      context.diagnostic(`and gone in ${(performance.now() - ended).toFixed(0)} ms`);
      assert.equal(namespaces(), 0);
    }
    assert.ok(descriptors() <= before + 8, `${descriptors()} descriptors, ${before} before`);
  });
});
