/** The socket: greeting, epochs, bounds, order. The service behind it is scripted; clients are real connections. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import type { Acknowledge, QueryAnswer } from '../../../src/dataplane/protocol/answers.js';
import type { PublishRequest, QueryRequest } from '../../../src/dataplane/protocol/requests.js';
import { maximumFrameBytes, switchSocketName } from '../../../src/dataplane/protocol.js';
import { SwitchServer, type SwitchService } from '../../../src/dataplane/server.js';
import type { Subscriber } from '../../../src/dataplane/subscriptions.js';
import { TestClient } from '../../support/supervised.js';

class Service implements SwitchService {
  epoch = 5;
  revision = 2;
  generation = '9';
  readonly calls: string[] = [];
  readonly subscribers = new Set<Subscriber>();
  /** Publications wait for this. */
  gate: Promise<void> = Promise.resolve();

  raiseEpoch(epoch: number): void {
    this.epoch = Math.max(this.epoch, epoch);
  }
  async publish({ id, revision }: PublishRequest): Promise<Acknowledge> {
    this.calls.push(`begin ${revision}`);
    await this.gate;
    this.calls.push(`end ${revision}`);
    if (revision === 666) throw new Error('it went wrong');
    return { id, type: 'acknowledge', revision, generation: '9', image: { status: 'unchanged' }, ports: [] };
  }
  query({ id }: QueryRequest): QueryAnswer {
    return { id, type: 'answer', what: 'image', data: { loaded: true, bytes: 1, generation: '9' } };
  }
  subscribe(_: unknown, subscriber: Subscriber): void {
    if (this.subscribers.size > 0) throw Object.assign(new Error('one is enough'), { code: 'capture-limit' });
    this.subscribers.add(subscriber);
  }
  unsubscribe(subscriber: Subscriber): boolean {
    return this.subscribers.delete(subscriber);
  }
  left(subscriber: Subscriber): void {
    this.subscribers.delete(subscriber);
  }
}

async function setUp(t: { after(end: () => Promise<void>): void }, uid = process.getuid?.() ?? 0) {
  const folder = mkdtempSync(join(tmpdir(), 'weft-server-'));
  const service = new Service();
  const log: string[] = [];
  const server = new SwitchServer({
    path: join(folder, switchSocketName),
    service,
    peerCredentials: () => ({ pid: 1, uid, gid: 0 }),
    log: (message) => log.push(message),
  });
  // A dead switch's socket file is in the way of nobody.
  writeFileSync(join(folder, switchSocketName), '');
  await server.listen();
  const clients: TestClient[] = [];
  t.after(async () => {
    for (const client of clients) client.close();
    await server.close();
    rmSync(folder, { recursive: true });
  });
  const connect = async (hello: { type: string } & Record<string, unknown>) => {
    const client = await TestClient.connect(folder, hello);
    clients.push(client);
    return client;
  };
  return { folder, service, server, log, connect };
}

const agent = (epoch: number) => ({ type: 'hello', role: 'agent', epoch });
const observer = { type: 'hello', role: 'observer' };
const publish = (epoch: number, revision: number) => ({
  type: 'publish',
  epoch,
  revision,
  image: null,
  ports: [],
});
const codeOf = (answer: unknown) => (answer as { code?: string } | null)?.code;

test('the socket is for its owner only', async (t) => {
  const { folder } = await setUp(t);
  assert.equal(statSync(join(folder, switchSocketName)).mode & 0o777, 0o600);
});

test('a peer of another user is turned away before it is heard', async (t) => {
  const { log, folder } = await setUp(t, (process.getuid?.() ?? 0) + 1);
  await assert.rejects(TestClient.connect(folder, observer, 300), /no switch answered/);
  assert.ok(log.includes('a connection was refused'));
});

test('an older epoch is refused, an equal one is the same agent again, a higher one fences the others', async (t) => {
  const { service, connect } = await setUp(t);
  const watching = await connect(observer);
  assert.equal(codeOf(await watching.ask(agent(4))), 'epoch-stale');
  const old = await connect(agent(5));
  const next = await connect(agent(8));
  assert.equal(service.epoch, 8);
  assert.equal(codeOf(await old.ask(publish(5, 3))), 'epoch-stale');
  assert.equal(codeOf(await old.ask(publish(8, 3))), undefined, 'what counts is the epoch that is published');
  assert.equal((await next.ask(publish(8, 4)))?.type, 'acknowledge');
});

test('publications are applied one after the other, and one that waited is fenced when a successor came meanwhile', async (t) => {
  const { service, connect } = await setUp(t);
  const client = await connect(agent(5));
  let open: () => void = () => {};
  service.gate = new Promise((resolve) => {
    open = resolve;
  });
  const first = client.ask(publish(5, 1));
  const second = client.ask(publish(5, 2));
  assert.equal((await client.ask({ type: 'query', what: 'image' }))?.type, 'answer', 'queries do not wait');
  await connect(agent(6));
  open();
  assert.equal((await first)?.type, 'acknowledge');
  assert.equal(codeOf(await second), 'epoch-stale');
  assert.deepEqual(service.calls, ['begin 1', 'end 1']);
});

test('a publication that fails is answered, and the next is applied', async (t) => {
  const { connect } = await setUp(t);
  const client = await connect(agent(5));
  assert.equal(codeOf(await client.ask(publish(5, 666))), 'switch-internal');
  assert.equal((await client.ask(publish(5, 7)))?.type, 'acknowledge');
});

test('observers ask and subscribe, and do not publish', async (t) => {
  const { service, connect } = await setUp(t);
  const client = await connect(observer);
  assert.equal(codeOf(await client.ask(publish(5, 3))), 'not-agent');
  assert.equal((await client.ask({ type: 'subscribe', what: 'flows' }))?.type, 'done');
  assert.equal(codeOf(await client.ask({ type: 'subscribe', what: 'flows' })), 'capture-limit');
  assert.equal((await client.ask({ type: 'unsubscribe', subscription: 2 }))?.type, 'done');
  assert.equal(codeOf(await client.ask({ type: 'unsubscribe', subscription: 2 })), 'subscription-unknown');
  await client.ask({ type: 'subscribe', what: 'flows' });
  client.close();
  for (let i = 0; i < 100 && service.subscribers.size > 0; i++) await new Promise((r) => setTimeout(r, 10));
  assert.equal(service.subscribers.size, 0, 'a subscription ends with its connection');
});

test('bad frames are answered and the connection goes on', async (t) => {
  const { connect } = await setUp(t);
  const client = await connect(observer);
  const answers: unknown[] = [];
  client.onUnnumbered = (answer) => answers.push(answer);
  client.sendRaw('this is no JSON\n[1]\n"text"\n\n{"type":"query"}\n');
  assert.equal(codeOf(await client.ask({ type: 'query', what: 'everything' })), 'frame-invalid');
  assert.equal((await client.ask({ type: 'query', what: 'image' }))?.type, 'answer');
  assert.deepEqual(answers.map(codeOf), [
    'frame-not-json',
    'frame-not-json',
    'frame-not-json',
    'frame-invalid',
  ]);
});

test('the first frame is hello', async (t) => {
  const { folder } = await setUp(t);
  await assert.rejects(
    TestClient.connect(folder, { type: 'query', what: 'image' }, 100),
    /no switch answered/,
  );
});

test('a frame that is too long is answered, and ends the connection', async (t) => {
  const { connect } = await setUp(t);
  const client = await connect(observer);
  const answers: unknown[] = [];
  client.onUnnumbered = (answer) => answers.push(answer);
  client.sendRaw(`{"id":1,"padding":"${'x'.repeat(maximumFrameBytes)}`);
  assert.equal(await client.ask({ type: 'query', what: 'image' }), null);
  assert.deepEqual(answers.map(codeOf), ['frame-too-long']);
});

test('more than 16 publications of one client do not wait', async (t) => {
  const { service, connect } = await setUp(t);
  const client = await connect(agent(5));
  let open: () => void = () => {};
  service.gate = new Promise((resolve) => {
    open = resolve;
  });
  const answers = Array.from({ length: 17 }, (_, index) => client.ask(publish(5, index)));
  assert.equal(codeOf(await answers[16]!), 'switch-busy');
  open();
  assert.ok((await Promise.all(answers.slice(0, 16))).every((answer) => answer?.type === 'acknowledge'));
});
