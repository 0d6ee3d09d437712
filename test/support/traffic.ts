/** Traffic that goes on for the length of a test: a stream of the pod `good` to `server`, and knocks of `bad`, which policy denies. */
import assert from 'node:assert/strict';
import type { TestNode } from './node.js';
import { Talker } from './talk.js';
import { until } from './weft.js';

export interface Traffic {
  /** Resolves when the stream has moved since. */
  goesOn(): Promise<void>;
  /** Asserts that the stream lost nothing, and that none of the knocks was let in. */
  finish(): Promise<void>;
}

/** Resolves when the stream runs. The policies in force let `good`, and not `bad`, reach `server`. */
export async function startTraffic(node: TestNode): Promise<Traffic> {
  const { v4, v6 } = node.pod('server');
  await Talker.start(node, 'server', 'echo', 5006);
  const beat = await Talker.start(node, 'good', 'heartbeat', v4, 5006, 5);
  const knocks = [
    await Talker.start(node, 'bad', 'knock', v4, 80, 2),
    await Talker.start(node, 'bad', 'knock', v6, 53, 2),
  ];
  await until('the stream runs', 15, async () => (await beat.report()).heard > 20);
  return {
    goesOn: async () => {
      const { heard } = await beat.report();
      await until('the stream goes on', 15, async () => (await beat.report()).heard > heard + 20);
    },
    finish: async () => {
      const { wrong, end } = await beat.report();
      assert.deepEqual({ wrong, end }, { wrong: 0, end: '' });
      for (const knock of knocks) {
        const { tries, inside } = await knock.stop();
        assert.ok(tries > 20, `${tries} tries`);
        assert.equal(inside, 0, 'a denied packet got through');
      }
    },
  };
}
