/** Host ports and bandwidth of an attach request: what is taken, in which form, and what is refused by name. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { attachOrder } from '../../../src/agent/attachment.js';
import { portBandwidth } from '../../../src/agent/attachment-limits.js';
import type { AttachRequest } from '../../../src/agent/protocol/requests.js';
import { WeftError } from '../../../src/errors/problem.js';

const request = {
  type: 'attach',
  id: 1,
  namespace: 'shop',
  name: 'web',
  uid: '',
  netns: '/run/netns/a',
  ifname: 'eth0',
};
const details = (change: object) =>
  attachOrder({ ...request, ...change } as unknown as AttachRequest, 1500).details;
const port = { protocol: 'TCP', hostPort: 8080, containerPort: 80, hostIP: '' };

test('host ports are kept in the attachment, addresses in their one spelling', () => {
  assert.deepEqual(
    details({ hostPorts: [port, { ...port, protocol: 'UDP' }, { ...port, hostIP: '2001:DB8:0::1' }] })
      .hostPorts,
    [port, { ...port, protocol: 'UDP' }, { ...port, hostIP: '2001:db8::1' }],
  );
});

test('what is not limited and not mapped is not there', () => {
  for (const change of [
    {},
    { hostPorts: [] },
    { bandwidth: {} },
    { bandwidth: { ingressRate: 0, ingressBurst: 9 } },
  ]) {
    const { hostPorts, bandwidth } = details(change);
    assert.deepEqual([hostPorts, bandwidth], [undefined, undefined], JSON.stringify(change));
  }
});

test('a burst goes with its rate', () => {
  assert.deepEqual(
    details({ bandwidth: { ingressRate: 1e6, ingressBurst: 8e5, egressBurst: 7 } }).bandwidth,
    {
      ingressRate: 1e6,
      ingressBurst: 8e5,
    },
  );
});

test('a wrong field is refused by its name', () => {
  for (const [change, field] of [
    [{ hostPorts: {} }, 'hostPorts'],
    [{ hostPorts: [null] }, 'hostPorts[0]'],
    [{ hostPorts: [{ ...port, protocol: 'tcp' }] }, 'hostPorts[0].protocol'],
    [{ hostPorts: [port, { ...port, hostPort: 0 }] }, 'hostPorts[1].hostPort'],
    [{ hostPorts: [{ ...port, containerPort: 65536 }] }, 'hostPorts[0].containerPort'],
    [{ hostPorts: [{ ...port, hostIP: 'eth0' }] }, 'hostPorts[0].hostIP'],
    [{ hostPorts: [port, { ...port, containerPort: 81 }] }, 'hostPorts[1].hostPort'],
    [{ bandwidth: 5 }, 'bandwidth'],
    [{ bandwidth: { egressRate: -1 } }, 'bandwidth.egressRate'],
    [{ bandwidth: { egressRate: 1, egressBurst: 0.5 } }, 'bandwidth.egressBurst'],
  ] as const)
    assert.throws(
      () => details(change),
      (error) =>
        error instanceof WeftError &&
        error.code === 'attach-invalid' &&
        error.message.includes(`: ${field} has`),
      JSON.stringify(change),
    );
});

test("a burst that nobody chose is the switch's own: runtimes give the largest number where annotations name a rate", () => {
  const rates = { ingressRate: 1000, egressRate: 2000 };
  for (const most of [2 ** 31 - 1, 2 ** 32 - 1])
    assert.deepEqual(portBandwidth({ ...rates, ingressBurst: most, egressBurst: most }), rates);
  assert.deepEqual(portBandwidth({ egressRate: 1, egressBurst: 5 }), { egressRate: 1, egressBurst: 5 });
});
