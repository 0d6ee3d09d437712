/**
 * Bandwidth of pods, with real TCP: what a limited pod sends and receives stays near its rate, and nobody else feels it. The bands are
 * wide: how close TCP comes to a rate is TCP's business, and this machine may be busy.
 */
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import { TestNode } from '../support/node.js';
import { endTalkers, pause, Talker } from '../support/talk.js';
import { until } from '../support/weft.js';

/** Bits a second, and the same in bytes. */
const rate = 16_000_000;
const bytes = rate / 8;
/** As containerd gives where the annotation names only a rate. */
const unspecified = 2 ** 32 - 1;

describe('bandwidth', () => {
  let node: TestNode;
  before(async () => {
    node = await TestNode.start();
    await node.addPods({
      sends: { bandwidth: { egressRate: rate, egressBurst: unspecified } },
      receives: { bandwidth: { ingressRate: rate, ingressBurst: unspecified } },
      free: {},
      other: {},
    });
  });
  afterEach(endTalkers);
  after(() => node?.end());

  /** Bytes a second that arrive, of one stream that sends as fast as it goes; measured once it has used up its burst. */
  async function stream(from: string, to: string, port: number): Promise<number> {
    const sink = await Talker.start(node, to, 'sink', port);
    const source = await Talker.start(node, from, 'source', node.pod(to).v4, port, 0);
    // More than any burst here.
    await until('the burst is over', 20, async () => (await sink.report()).bytes > bytes);
    const before = await sink.report();
    const started = performance.now();
    await pause(1500);
    const { bytes: now, wrong } = await sink.report();
    const seconds = (performance.now() - started) / 1000;
    for (const talker of [source, sink]) await talker.end();
    assert.equal(wrong, 0, 'every byte is where it belongs');
    return (now - before.bytes) / seconds;
  }

  const between = (value: number, least: number, most: number, what: string) =>
    assert.ok(value >= least && value <= most, `${what}: ${Math.round(value)} bytes/s of ${bytes}`);

  test('a pod sends at its rate, and no packet of it is dropped', async (context) => {
    const drops = await node.dropsDuring('sends', async () => {
      const sent = await stream('sends', 'free', 6001);
      context.diagnostic(`${Math.round((sent / bytes) * 100)} % of the rate`);
      between(sent, bytes * 0.5, bytes * 1.3, 'egress');
    });
    assert.equal(drops.bandwidth, undefined);
    assert.ok((await node.counters('sends')).throttledNanoseconds > 0);
  });

  test('a pod receives at its rate; what is over it is dropped with that reason', async (context) => {
    const drops = await node.dropsDuring('free', async () => {
      const received = await stream('free', 'receives', 6002);
      context.diagnostic(`${Math.round((received / bytes) * 100)} % of the rate`);
      between(received, bytes * 0.2, bytes * 1.3, 'ingress');
    });
    assert.ok((drops.bandwidth ?? 0) > 0, JSON.stringify(drops));
    assert.ok((await node.counters('receives')).policedPackets > 0);
  });

  test('the other direction, and other pods meanwhile, know no limit', async (context) => {
    const sink = await Talker.start(node, 'other', 'sink', 6003);
    const source = await Talker.start(node, 'sends', 'source', node.pod('other').v4, 6003, 0);
    const beside = await stream('other', 'free', 6004);
    // Acknowledgements of the next stream would wait behind this one's data.
    for (const talker of [source, sink]) await talker.end();
    const back = await stream('receives', 'sends', 6005);
    context.diagnostic(`${Math.round(beside / bytes)} and ${Math.round(back / bytes)} times the rate`);
    assert.ok(beside > bytes * 2, `${beside} bytes/s beside a limited pod`);
    // Only acknowledgements go in the limited directions.
    assert.ok(back > bytes * 1.5, `${back} bytes/s in the directions that are free`);
    for (const pod of ['free', 'other'])
      assert.deepEqual(
        [(await node.counters(pod)).throttledNanoseconds, (await node.counters(pod)).policedPackets],
        [0, 0],
      );
  });

  test('a limit that is lifted is lifted at once, for the streams that run too', async () => {
    const sink = await Talker.start(node, 'free', 'sink', 6006);
    await Talker.start(node, 'sends', 'source', node.pod('free').v4, 6006, 0);
    await until('the burst is over', 20, async () => (await sink.report()).bytes > bytes);
    const { netns, v4, v6 } = node.pod('sends');
    const again = { namespace: 'test', name: 'sends', uid: '', netns, ifname: 'eth0', addresses: [v4, v6] };
    await node.agent.request('attach', again);
    const more = async () => {
      const { bytes: at } = await sink.report();
      await until('far more arrives', 20, async () => (await sink.report()).bytes > at + bytes * 4);
      return (await node.counters('sends')).throttledNanoseconds;
    };
    // A pause that was under way ends first.
    const throttled = await more();
    assert.equal(await more(), throttled);
  });
});
