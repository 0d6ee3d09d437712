/**
 * Restarts of a whole node, switch and agent, under numbered traffic: what is lost is counted, what is denied is tried all the while by floods
 * of TCP and UDP and never gets through, and state that is damaged or of another version is refused with a word and made anew, closed.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { TestNode } from '../support/node.js';
import { onlyFrom } from '../support/only-from.js';
import { endTalkers, pause, Talker } from '../support/talk.js';
import { until } from '../support/weft.js';

async function startNode(supervised: boolean): Promise<TestNode> {
  const node = await TestNode.start({ supervised });
  try {
    await node.addPods({ server: { ports: ['80/TCP', '53/UDP'] }, good: {}, bad: {} });
    await node.apply([onlyFrom('good')]);
  } catch (error) {
    await node.end();
    throw error;
  }
  return node;
}

/** Traffic that is allowed (a stream with numbered echoes, numbered datagrams) and traffic that is denied (knocks by TCP and UDP). */
class Traffic {
  readonly #node: TestNode;
  beat!: Talker;
  count!: Talker;
  sender!: Talker;
  knocks: Talker[] = [];

  constructor(node: TestNode) {
    this.#node = node;
  }

  async start(): Promise<void> {
    const { v4, v6 } = this.#node.pod('server');
    await Talker.start(this.#node, 'server', 'echo', 5006);
    this.count = await Talker.start(this.#node, 'server', 'count', 5008);
    this.beat = await Talker.start(this.#node, 'good', 'heartbeat', v4, 5006, 5);
    this.sender = await Talker.start(this.#node, 'good', 'number', v6, 5008, 1);
    this.knocks = [
      await Talker.start(this.#node, 'bad', 'knock', v4, 80, 1),
      await Talker.start(this.#node, 'bad', 'knock', v6, 53, 1),
      // Its own port of the running stream, too.
      await Talker.start(this.#node, 'bad', 'knock', v4, 5006, 1),
    ];
    await until('the traffic runs', 5, async () => (await this.beat.report()).heard > 40);
    await this.count.report();
  }

  async goesOn(seconds: number): Promise<void> {
    const { heard, received } = await this.#look();
    await until('stream and datagrams go on', seconds, async () => {
      const now = await this.#look();
      return now.heard > heard + 60 && now.received > received + 100;
    });
  }

  /** Slowest echo and longest silence of the datagrams so far, milliseconds. */
  async #look(): Promise<{ heard: number; received: number }> {
    const [{ heard, slowest }, { received, longestGap }] = [
      await this.beat.report(),
      await this.count.report(),
    ];
    this.slowest = Math.max(this.slowest, slowest);
    this.longestGap = Math.max(this.longestGap, longestGap);
    return { heard, received };
  }

  slowest = 0;
  longestGap = 0;

  /** Ends the sending; how many datagrams are missing. */
  async finish(): Promise<number> {
    const { sent, failed } = await this.sender.stop();
    await pause(100);
    const { received, doubled } = await this.count.report();
    const { wrong, end } = await this.beat.report();
    assert.deepEqual({ wrong, end, doubled, failed }, { wrong: 0, end: '', doubled: 0, failed: 0 });
    for (const knock of this.knocks) {
      const { tries, inside } = await knock.stop();
      assert.ok(tries > 300, `${tries} tries`);
      assert.equal(inside, 0, 'a denied packet got through');
    }
    return sent - received;
  }
}

describe('a node under weft-supervise', () => {
  let node: TestNode;
  before(async () => {
    node = await startNode(true);
  });
  afterEach(endTalkers);
  after(() => node?.end());

  test('kill -9 of the agent, twice, loses not one datagram and no heartbeat; its successor takes over', async (context) => {
    const traffic = new Traffic(node);
    await traffic.start();
    for (let round = 0; round < 2; round++) {
      await node.killAgent();
      await traffic.goesOn(5);
      await node.startAgent();
      await node.apply([onlyFrom('good')]);
      await traffic.goesOn(5);
    }
    assert.equal(await traffic.finish(), 0, 'datagrams lost');
    context.diagnostic(`slowest echo ${traffic.slowest.toFixed(1)} ms`);
    // TCP would send a lost packet again after 200 ms at the earliest.
    assert.ok(traffic.slowest < 200, `an echo took ${traffic.slowest} ms`);
    const status = await node.query('status');
    assert.equal(status.starts, 1, 'the switch was not touched');
  });

  test('kill -9 of the switch: the next one starts within 100 ms and takes over; streams go on', async (context) => {
    const traffic = new Traffic(node);
    await traffic.start();
    let status = await node.query('status');
    const startedAfter: number[] = [];
    const upAfter: number[] = [];
    // The cores are shared with three floods and whatever else this machine does: the best of three is the switch's own time.
    for (let round = 0; round < 3 && Math.min(...startedAfter, Number.POSITIVE_INFINITY) >= 100; round++) {
      const { pid } = status;
      const killed = performance.now();
      const killedAt = Number(readFileSync('/proc/uptime', 'utf8').split(' ')[0]);
      process.kill(pid, 'SIGKILL');
      await until('the supervisor starts another', 2, () => switchOf(node) > 0 && switchOf(node) !== pid);
      startedAfter.push(Math.round((startedAt(switchOf(node)) - killedAt) * 1000));
      status = await node.switchUp(pid);
      upAfter.push(Math.round(performance.now() - killed));
      await traffic.goesOn(10);
      await pause(1000);
    }
    const missing = await traffic.finish();
    context.diagnostic(
      `started after ${startedAfter.join(', ')} ms, answering after ${upAfter.join(', ')} ms; ` +
        `longest silence ${traffic.longestGap.toFixed(0)} ms, slowest echo ${traffic.slowest.toFixed(0)} ms, ${missing} datagrams lost`,
    );
    assert.ok(Math.min(...startedAfter) < 100, `started after ${startedAfter.join(', ')} ms`);
    assert.ok(traffic.longestGap < 3000, `nothing came for ${traffic.longestGap} ms`);
    assert.equal(status.supervised, true);
    for (const report of await node.query('ports')) {
      assert.equal(report.status, 'live');
      assert.equal(report.origin, 'adopted', 'its descriptor came from the supervisor');
    }
    await node.apply([onlyFrom('good')]);
  });

  test('switch and agent killed at once come back to the same state', async () => {
    const traffic = new Traffic(node);
    await traffic.start();
    const { pid } = await node.query('status');
    process.kill(pid, 'SIGKILL');
    await node.killAgent();
    await node.switchUp(pid);
    await traffic.goesOn(10);
    await node.startAgent();
    await node.apply([onlyFrom('good')]);
    await traffic.goesOn(5);
    await traffic.finish();
  });

  test('where memory runs out pods go first, then the agent, and at last switch and supervisor', async () => {
    const score = (pid: number) => Number(readFileSync(`/proc/${pid}/oom_score_adj`, 'utf8'));
    const agent = node.child('agent').pid!;
    const supervisor = node.child('switch').pid!;
    const { pid } = await node.query('status');
    const effective = /^CapEff:\s*(\w+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
    // CAP_SYS_RESOURCE. Without it the kernel refuses, which is told and stops nobody.
    if (((BigInt(`0x${effective}`) >> 24n) & 1n) === 0n) {
      for (const name of ['agent', 'switch'] as const)
        await until(`the ${name} says so`, 10, () =>
          /memory runs out.*CAP_SYS_RESOURCE|CAP_SYS_RESOURCE.*memory runs out/.test(node.log(name)),
        );
      return;
    }
    // The kubelet gives pods that have requests at least 2.
    await until('they have said so', 10, () => score(agent) < 0 && score(pid) < 0);
    assert.deepEqual([score(agent), score(pid), score(supervisor)], [-900, -998, -998]);
  });

  test('a connection table that is damaged, or of another version, is refused with a word and made anew', async () => {
    const file = join(node.run, 'connections');
    const damages: readonly (readonly [string, (bytes: Buffer) => Buffer])[] = [
      ['another magic', (bytes) => bytes.fill(0xa5, 0, 8)],
      ['an older version', (bytes) => bytes.fill(0, 8, 12)],
      ['half of the file', (bytes) => bytes.subarray(0, bytes.length >> 1)],
    ];
    for (const [name, damage] of damages) {
      const knock = await Talker.start(node, 'bad', 'knock', node.pod('server').v4, 80, 1);
      const { pid } = await node.query('status');
      const lines = node.log('switch').length;
      process.kill(pid, 'SIGSTOP');
      writeFileSync(file, damage(readFileSync(file)));
      process.kill(pid, 'SIGKILL');
      await node.switchUp(pid);
      const said = node.log('switch').slice(lines);
      assert.match(said, /connection table was refused/, `${name}: ${said}`);
      await until(
        'allowed traffic passes',
        5,
        async () => (await node.outcome('good', 'server', 80)) === 'answered',
      );
      const { tries, inside } = await knock.stop();
      assert.ok(tries > 50);
      assert.equal(inside, 0, name);
      await endTalkers();
    }
  });

  test('an image or a desired state that is damaged, or of another version, is refused with a word, and nothing passes before the agent is back', async () => {
    const damages: readonly (readonly [string, string, RegExp, (bytes: Buffer) => Buffer])[] = [
      [
        'an image with a flipped byte',
        'switch-image',
        /kept image was refused/,
        (bytes) => bytes.fill(bytes.at(-1)! ^ 1, bytes.length - 1),
      ],
      [
        'an image of another version',
        'switch-image',
        /kept image was refused/,
        (bytes) => bytes.fill(0, 8, 12),
      ],
      [
        'half of an image',
        'switch-image',
        /kept image was refused/,
        (bytes) => bytes.subarray(0, bytes.length >> 1),
      ],
      ['a state that is no JSON', 'switch-state.json', /state was refused/, () => Buffer.from('{"version":')],
      [
        'a state of version 0',
        'switch-state.json',
        /version 0 instead of 1.*state was refused/,
        (bytes) => Buffer.from(bytes.toString().replace('"version":1', '"version":0')),
      ],
    ];
    for (const [name, file, word, damage] of damages) {
      // Without an agent that would mend it at once.
      await node.killAgent();
      const knock = await Talker.start(node, 'bad', 'knock', node.pod('server').v4, 80, 1);
      const { pid } = await node.query('status');
      const lines = node.log('switch').length;
      process.kill(pid, 'SIGSTOP');
      const path = join(node.run, file);
      writeFileSync(path, damage(readFileSync(path)));
      process.kill(pid, 'SIGKILL');
      await node.switchUp(pid);
      assert.match(node.log('switch').slice(lines), word, name);
      assert.notEqual(await node.outcome('good', 'server', 80), 'answered', `${name}: closed`);
      await node.startAgent();
      await node.apply([onlyFrom('good')]);
      await until(
        `${name}: the agent mends it`,
        5,
        async () => (await node.outcome('good', 'server', 80)) === 'answered',
      );
      const { tries, inside } = await knock.stop();
      assert.ok(tries > 50);
      assert.equal(inside, 0, name);
      await endTalkers();
    }
  });

  test('a desired state that a newer version has written, with a time-out that this one does not know, is used without it', async () => {
    await node.killAgent();
    const { pid } = await node.query('status');
    const lines = node.log('switch').length;
    process.kill(pid, 'SIGSTOP');
    const path = join(node.run, 'switch-state.json');
    const { settings, ...state } = JSON.parse(readFileSync(path, 'utf8'));
    const timeouts = { ...settings.timeouts, 'quic-closing': 5 };
    writeFileSync(path, JSON.stringify({ ...state, settings: { ...settings, timeouts } }));
    process.kill(pid, 'SIGKILL');
    await node.switchUp(pid);
    assert.match(node.log('switch').slice(lines), /quic-closing.*left out/);
    assert.equal(await node.outcome('good', 'server', 80), 'answered', 'no agent is needed');
    assert.notEqual(await node.outcome('bad', 'server', 80), 'answered', 'and nothing is open');
    await node.startAgent();
    await node.apply([onlyFrom('good')]);
  });
});

describe('a node without weft-supervise', () => {
  let node: TestNode;
  before(async () => {
    node = await startNode(false);
  });
  afterEach(endTalkers);
  after(() => node?.end());

  test('kill -9 of the switch: whoever starts it again gets the ports back by their namespaces, and streams go on', async (context) => {
    const traffic = new Traffic(node);
    await traffic.start();
    const { pid } = await node.query('status');
    const exit = once(node.child('switch'), 'exit');
    process.kill(pid, 'SIGKILL');
    const killed = performance.now();
    await exit;
    node.startSwitch();
    await node.switchUp(pid);
    const up = performance.now() - killed;
    await traffic.goesOn(10);
    const missing = await traffic.finish();
    context.diagnostic(
      `answering after ${up.toFixed(0)} ms; longest silence ${traffic.longestGap.toFixed(0)} ms, ${missing} datagrams lost`,
    );
    for (const report of await node.query('ports')) {
      assert.equal(report.status, 'live');
      assert.equal(report.origin, 're-attached', 'by the path of its namespace');
    }
    assert.equal((await node.query('status')).supervised, false);
  });
});

/** Seconds since boot, in steps of 10 ms (proc(5), field 22 of stat). */
function startedAt(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]) / 100;
}

/** The supervisor's child; 0 while there is none. */
function switchOf(node: TestNode): number {
  const supervisor = node.child('switch').pid!;
  try {
    const children = readFileSync(`/proc/${supervisor}/task/${supervisor}/children`, 'utf8');
    return Number(children.trim().split(' ')[0] ?? 0);
  } catch {
    return 0;
  }
}
