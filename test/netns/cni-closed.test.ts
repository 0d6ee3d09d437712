/**
 * No packet passes unprotected at the start of a pod: programs inside its namespace send, and others send to its address, from before ADD until
 * after it has answered. Under deny-all nothing arrives either way; the same without the policy shows that it would.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { after, before, test } from 'node:test';
import { CniNode, v4Of } from '../support/cni-node.js';
import { until } from '../support/weft.js';

const rounds = 6;
const closed = Array.from({ length: rounds }, (_, index) => `closed-${index}`);
const open = Array.from({ length: 2 }, (_, index) => `open-${index}`);
const denyAll = {
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: { namespace: 'test', name: 'deny-all' },
  spec: { podSelector: { matchLabels: { closed: 'yes' } }, policyTypes: ['Ingress', 'Egress'] },
};

let cni: CniNode;
const talkers: Talker[] = [];

/** Sends its name to addresses every millisecond, over and over, and prints each name that arrives for the first time. */
const program = `
const [name, own, port, ...targets] = process.argv.slice(1);
const socket = require('node:dgram').createSocket('udp4');
const seen = new Set();
socket.on('error', () => {});
socket.on('message', (message) => { const from = String(message); if (!seen.has(from)) { seen.add(from); console.log(from); } });
socket.bind(Number(own), () => {
  console.log('ready');
  setInterval(() => { for (const target of targets) socket.send(name, Number(port), target, () => {}); }, 1);
});
`;

class Talker {
  readonly heard = new Set<string>();
  readonly #child: ChildProcess;

  constructor(netns: string, name: string, own: number, port: number, targets: readonly string[]) {
    this.#child = spawn(
      'nsenter',
      [`--net=${netns}`, process.execPath, '-e', program, '--', name, String(own), String(port), ...targets],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    talkers.push(this);
    this.#child.stdout?.on('data', (chunk: Buffer) => {
      for (const line of chunk.toString().split('\n')) if (line !== '') this.heard.add(line);
    });
  }

  ready(): Promise<void> {
    return until('the talker is ready', 15, () => this.heard.has('ready'));
  }

  end(): void {
    this.#child.kill('SIGKILL');
  }
}

before(async () => {
  cni = await CniNode.start();
  await cni.pods({
    peer: {},
    ...Object.fromEntries(open.map((name) => [name, {}])),
    ...Object.fromEntries(closed.map((name) => [name, { closed: 'yes' }])),
  });
  await cni.policies([denyAll]);
});
after(async () => {
  for (const talker of talkers) talker.end();
  await cni?.end();
});

test('what a pod sends and what is sent to it while it is added is judged like everything after', async () => {
  const peer = v4Of(await cni.add('peer'));
  assert.equal(peer, '10.99.0.2');
  // Addresses are given in order: the peer knows them before the pods have them.
  const coming = [...closed, ...open].map((_, index) => `10.99.0.${index + 3}`);
  const listener = new Talker(cni.netns('peer'), 'peer', 7001, 7000, coming);
  await listener.ready();
  // The policy's pods first, then those that show that packets would have come through.
  for (const [index, name] of [...closed, ...open].entries()) {
    cni.namespace(name);
    const talker = new Talker(cni.netns(name), name, 7000, 7001, [peer]);
    await talker.ready();
    assert.equal(v4Of(await cni.add(name)), coming[index]);
    if (open.includes(name)) {
      await until(`the peer hears ${name}`, 15, () => listener.heard.has(name));
      await until(`${name} hears the peer`, 15, () => talker.heard.has('peer'));
    } else {
      // It has sent, and what it sent was dropped for that reason.
      await until(`drops of ${name}`, 15, async () => {
        const { ports } = await cni.node.agent.request('ports', {});
        const row = (ports as { name: string; drops?: Record<string, number> }[]).find(
          (port) => port.name === name,
        );
        return (row?.drops?.['policy-egress'] ?? 0) > 20;
      });
      assert.deepEqual([...talker.heard], ['ready'], name);
    }
    talker.end();
  }
  assert.deepEqual([...listener.heard].sort(), [...open, 'ready'].sort());
});
