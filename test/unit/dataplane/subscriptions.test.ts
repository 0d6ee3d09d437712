import assert from 'node:assert/strict';
import test from 'node:test';
import type { NativeCapture } from '../../../src/dataplane/addon.js';
import type {
  FlowEvent,
  SwitchEvent,
  TrialCounts,
  TrialEvent,
} from '../../../src/dataplane/protocol/events.js';
import { type EventSource, type Subscriber, Subscriptions } from '../../../src/dataplane/subscriptions.js';

const flow = (change: Partial<FlowEvent> = {}): FlowEvent => ({
  time: 1,
  verdict: 'allowed',
  protocol: 6,
  family: 4,
  source: { address: '10.42.0.1', port: 1000 },
  destination: { address: '10.42.0.2', port: 80 },
  fromPort: 'a',
  toPort: 'b',
  ...change,
});

class Rings implements EventSource {
  flows: FlowEvent[] = [];
  lost = 0;
  captures = new Map<number, NativeCapture[]>();
  takeFlows = (limit: number) => {
    const taken = { events: this.flows.splice(0, limit), lost: this.lost };
    this.lost = 0;
    return taken;
  };
  startCapture = () => {
    this.captures.set(this.captures.size + 1, []);
    return this.captures.size;
  };
  takeCapture = (capture: number, limit: number) => ({
    events: this.captures.get(capture)?.splice(0, limit) ?? [],
    lost: 0,
  });
  stopCapture = (capture: number) => void this.captures.delete(capture);
  trial: TrialEvent[] = [];
  counts: TrialCounts = { judged: 0, denied: 0, allowed: 0, unnamed: 0 };
  trialsEnded = 0;
  takeTrial = (limit: number) => ({ events: this.trial.splice(0, limit), counts: this.counts });
  endTrial = () => void this.trialsEnded++;
}

class Reader implements Subscriber {
  backlog = 0;
  readonly got: SwitchEvent[] = [];
  send(event: SwitchEvent): void {
    this.got.push(event);
  }
  get events(): readonly unknown[] {
    return this.got.flatMap(({ events }) => events as readonly unknown[]);
  }
  get lost(): number {
    return this.got.reduce((sum, { lost }) => sum + lost, 0);
  }
}

function setUp(t: { after(end: () => void): void }) {
  const rings = new Rings();
  const subscriptions = new Subscriptions(rings, (address) =>
    address === '10.42.0.1' ? 'web/a' : undefined,
  );
  t.after(() => subscriptions.close());
  return { rings, subscriptions };
}

test('events are named, filtered for each subscriber, and what came before the first subscriber is not told', (t) => {
  const { rings, subscriptions } = setUp(t);
  rings.flows = [flow({ time: 0 })];
  const [all, denied, ofB] = [new Reader(), new Reader(), new Reader()];
  subscriptions.flows(1, {}, all);
  subscriptions.flows(2, { denied: true }, denied);
  subscriptions.flows(3, { port: 'x' }, ofB);
  const events = [flow(), flow({ verdict: 'denied', reason: 'policy-ingress' }), flow({ toPort: 'x' })];
  rings.flows = [...events];
  subscriptions.pump();
  assert.equal(all.events.length, 3);
  assert.deepEqual((all.events[0] as FlowEvent).source, { address: '10.42.0.1', port: 1000, pod: 'web/a' });
  assert.deepEqual((all.events[0] as FlowEvent).destination, events[0]?.destination);
  assert.deepEqual(
    denied.events.map((event) => (event as FlowEvent).verdict),
    ['denied'],
  );
  assert.deepEqual(
    ofB.events.map((event) => (event as FlowEvent).toPort),
    ['x'],
  );
  assert.deepEqual(
    all.got.map(({ subscription }) => subscription),
    [1],
  );
});

test('a reader that does not read loses its oldest events, is told how many, and costs the others nothing', (t) => {
  const { rings, subscriptions } = setUp(t);
  const [slow, fast] = [new Reader(), new Reader()];
  subscriptions.flows(1, {}, slow);
  subscriptions.flows(2, {}, fast);
  slow.backlog = 10_000_000;
  const rounds = 10;
  for (let round = 0; round < rounds; round++) {
    rings.flows = Array.from({ length: 1000 }, (_, index) => flow({ time: round * 1000 + index }));
    subscriptions.pump();
  }
  assert.equal(fast.events.length, rounds * 1000);
  assert.equal(fast.lost, 0);
  assert.equal(slow.got.length, 0);
  slow.backlog = 0;
  subscriptions.pump();
  assert.equal(slow.events.length + slow.lost, rounds * 1000);
  assert.equal(slow.events.length, 4096);
  assert.equal((slow.events.at(-1) as FlowEvent).time, rounds * 1000 - 1, 'the newest are kept');
  assert.equal(subscriptions.lost, slow.lost);
});

test('what the ring itself lost is told to every subscriber, even without an event', (t) => {
  const { rings, subscriptions } = setUp(t);
  const reader = new Reader();
  subscriptions.flows(1, {}, reader);
  rings.lost = 7;
  subscriptions.pump();
  assert.deepEqual([reader.events.length, reader.lost], [0, 7]);
});

test('a capture carries its bytes as base64 and is ended with its subscriber', (t) => {
  const { rings, subscriptions } = setUp(t);
  const reader = new Reader();
  subscriptions.capture(4, { port: 'a' }, reader);
  rings.captures
    .get(1)
    ?.push({ time: '5', port: 'a', direction: 'egress', length: 3, data: new Uint8Array([1, 2, 3]) });
  subscriptions.pump();
  assert.deepEqual(reader.events, [{ time: '5', port: 'a', direction: 'egress', length: 3, data: 'AQID' }]);
  assert.equal(subscriptions.end(new Reader(), 4), false, 'only its own subscriber can end it');
  subscriptions.endAll(reader);
  assert.equal(rings.captures.size, 0);
  assert.equal(subscriptions.end(reader, 4), false);
});

test('empty rings are looked at less often after a second, and as often as before once something comes', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { rings, subscriptions } = setUp(t);
  let looks = 0;
  const { takeFlows } = rings;
  rings.takeFlows = (limit: number) => {
    looks++;
    return takeFlows.call(rings, limit);
  };
  const reader = new Reader();
  subscriptions.flows(1, {}, reader);
  const looksWithin = (milliseconds: number) => {
    looks = 0;
    for (let passed = 0; passed < milliseconds; passed += 10) t.mock.timers.tick(10);
    return looks;
  };
  assert.equal(looksWithin(1000), 20);
  assert.equal(looksWithin(2000), 10);
  rings.flows = [flow({ time: 1 })];
  looksWithin(200);
  assert.equal(reader.events.length, 1);
  assert.equal(looksWithin(1000), 20);
  subscriptions.endAll(reader);
  assert.equal(looksWithin(1000), 0);
});

test('what a trial finds goes to those who listen to it, with the counts whenever they change', (t) => {
  const { rings, subscriptions } = setUp(t);
  const [reader, other] = [new Reader(), new Reader()];
  subscriptions.trial(1, reader);
  subscriptions.flows(2, {}, other);
  subscriptions.pump();
  subscriptions.pump();
  assert.equal(reader.got.length, 1, 'the counts once');
  rings.counts = { judged: 7, denied: 1, allowed: 0, unnamed: 0 };
  rings.trial.push({ actual: flow(), shadow: { verdict: 'denied', reason: 'policy-ingress' } });
  subscriptions.pump();
  const event = reader.got[1]!;
  assert.ok(event.what === 'trial');
  assert.equal(event.counts.judged, 7);
  assert.equal(event.events[0]?.actual.source.pod, 'web/a');
  assert.deepEqual(other.got, [], 'a follower of flows sees what happened, not what would have');
});

test('a trial ends when the last who listened to it has gone, by any way', (t) => {
  const { rings, subscriptions } = setUp(t);
  const [one, two] = [new Reader(), new Reader()];
  subscriptions.trial(1, one);
  subscriptions.trial(1, two);
  assert.equal(subscriptions.trials, 2);
  assert.ok(subscriptions.end(one, 1));
  assert.equal(rings.trialsEnded, 0);
  subscriptions.endAll(two);
  assert.equal(rings.trialsEnded, 1);
  subscriptions.trial(2, one);
  subscriptions.close();
  assert.equal(rings.trialsEnded, 2);
});
