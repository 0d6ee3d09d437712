/**
 * A switch that has no descriptor left: the new pod is refused with what to do about it, those that run go on, and the next ADD works as
 * soon as there is room.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { TestNode } from '../support/node.js';
import { endTalkers, Talker } from '../support/talk.js';
import { until } from '../support/weft.js';

let node: TestNode;
before(async () => {
  node = await TestNode.start({ config: { agent: { attachTimeout: '3s' } } });
  await node.addPods({ server: { ports: ['80/TCP'] }, client: {} });
});
after(async () => {
  await endTalkers();
  await node?.end();
});

/** The soft limit, which its owner may raise again. */
const limit = (pid: number, descriptors: string) =>
  execFileSync('prlimit', ['--pid', String(pid), `--nofile=${descriptors}:`]);

test('without a descriptor left a pod is refused with the remedy, and those that run go on', async () => {
  const { pid } = await node.query('status');
  await Talker.start(node, 'server', 'echo', 5006);
  const beat = await Talker.start(node, 'client', 'heartbeat', node.pod('server').v4, 5006, 5);
  const goesOn = async () => {
    const { heard } = await beat.report();
    await until('it goes on', 10, async () => (await beat.report()).heard > heard + 20);
  };
  await goesOn();
  // What is limited is the number, and the lowest that is free is taken: two are left.
  const taken = new Set(readdirSync(`/proc/${pid}/fd`).map(Number));
  let [most, free] = [0, 0];
  for (; free < 2; most++) if (!taken.has(most)) free++;
  limit(pid, String(most));
  const refused: string[] = [];
  for (let i = 0; i < 8 && refused.length === 0; i++)
    await node.addPods({ [`late-${i}`]: {} }).catch((error: Error) => refused.push(error.message));
  assert.match(refused[0] ?? 'nothing was refused', /open files/);
  await goesOn();
  assert.equal(await node.outcome('client', 'server', 80), 'answered');

  limit(pid, '4096');
  await node.addPods({ next: { ports: ['80/TCP'] } });
  assert.equal(await node.outcome('client', 'next', 80), 'answered');
  const { wrong, end } = await beat.report();
  assert.deepEqual({ wrong, end }, { wrong: 0, end: '' });
});
