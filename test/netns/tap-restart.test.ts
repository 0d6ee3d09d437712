/** The switch is killed and comes back: carriers stay, streams go on, what was denied stays denied, without any agent. */
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { PortSpec } from '../../src/dataplane/protocol/desired-state.js';
import { denyIngress, imageOf } from '../support/image.js';
import { echoServer, type Running, TestPods, udpClient } from '../support/netns.js';
import { SupervisedSwitch, SwitchAlone, TestClient } from '../support/supervised.js';

const pods = new TestPods();
let run: string;
let supervised: SupervisedSwitch;
let client: PortSpec;
let server: PortSpec;
let closed: PortSpec;
const observer = { type: 'hello', role: 'observer' } as const;

/**
 * A stream that sends a numbered byte every 5 ms and gets it back; on a line of input it prints how many came back, the longest
 * pause between two of them in ms, and the error if there was one. Arguments: address, port.
 */
const pacedStream = `
const s = require('node:net').connect({ host: process.argv[1], port: Number(process.argv[2]), noDelay: true });
let sent = 0, got = 0, last = performance.now(), longest = 0, error = '';
s.on('connect', () => { console.log('connected'); setInterval(() => s.write(Buffer.from([sent++ & 255])), 5); });
s.on('data', (d) => { for (const b of d) { if (b !== (got & 255)) error = 'wrong byte'; got++; }
  const now = performance.now(); longest = Math.max(longest, now - last); last = now; });
s.on('error', (e) => { error = e.code; });
setInterval(() => { console.log(JSON.stringify({ sent, got, longest: Math.round(longest), error })); }, 100);
`;
interface Paced {
  readonly sent: number;
  readonly got: number;
  readonly longest: number;
  readonly error: string;
}

before(async () => {
  run = pods.runDirectory();
  client = pods.pod(1);
  server = pods.pod(2);
  closed = pods.pod(3);
  supervised = new SupervisedSwitch(run);
  const agent = await TestClient.connect(run, { type: 'hello', role: 'agent', epoch: 1 });
  const named = [client, server, closed].map(({ namespace, name, addresses }) => ({
    namespace,
    name,
    addresses,
    labels: { name },
  }));
  const image = join(run, 'image');
  writeFileSync(image, imageOf(named, [denyIngress('test', { name: 'pod-3' })]));
  const answer = await agent.ask({
    type: 'publish',
    epoch: 1,
    revision: 7,
    image,
    ports: [client, server, closed],
  });
  assert.equal(answer?.type, 'acknowledge', JSON.stringify(answer));
  assert.deepEqual(
    answer.ports.map(({ status }) => status),
    ['live', 'live', 'live'],
  );
  agent.close();
  for (const pod of [server, closed]) await pods.run(pod, echoServer, 7000).line();
});

after(async () => {
  await supervised?.stop();
  pods.end();
});

const carrierChanges = (pod: PortSpec) =>
  Number(
    /"carrier_changes":(\d+)/.exec(pods.inside(pod, 'ip', '-d', '-j', '-s', 'link', 'show', 'eth0'))?.[1] ??
      Number.NaN,
  );
const carrier = (pod: PortSpec) => !pods.inside(pod, 'ip', 'link', 'show', 'eth0').includes('NO-CARRIER');
const readPaced = async (stream: Running): Promise<Paced> => JSON.parse(await stream.fresh()) as Paced;

test('kill -9 of the switch under a stream: no reset, no carrier lost, ports adopted, policy in force at once', async (t) => {
  const stream = pods.run(client, pacedStream, '10.42.0.2', 7000);
  assert.equal(await stream.line(), 'connected');
  // What is denied is tried without pause; an answer at any moment is a leak.
  const denied = pods.run(
    client,
    `const s = require('node:dgram').createSocket('udp4'); let leaks = 0; s.on('message', () => leaks++);
     setInterval(() => s.send('x', 7000, '10.42.0.3'), 1); setInterval(() => console.log(leaks), 100);`,
  );
  let observerClient = await TestClient.connect(run, observer);
  for (let round = 1; round <= 3; round++) {
    await new Promise((resolve) => setTimeout(resolve, 300));
    const before = await observerClient.status();
    const changes = carrierChanges(client);
    const killed = performance.now();
    process.kill(before.pid, 'SIGKILL');
    observerClient.close();
    observerClient = await TestClient.connect(run, observer);
    t.diagnostic(
      `round ${round}: the socket answered ${Math.round(performance.now() - killed)} ms after kill -9`,
    );
    const status = await observerClient.status();
    assert.notEqual(status.pid, before.pid);
    assert.deepEqual(status.ports, { live: 3, failed: 0 });
    assert.equal(status.revision, 7);
    assert.equal(status.starts, round + 1);
    assert.equal(status.supervised, true);
    assert.ok(carrier(client));
    if (!Number.isNaN(changes)) assert.equal(carrierChanges(client), changes);
    const answer = await observerClient.ask({ type: 'query', what: 'ports' });
    assert.ok(answer?.type === 'answer' && answer.what === 'ports');
    assert.ok(
      answer.data.every(({ origin }) => origin === 'adopted'),
      'adopted, not re-attached',
    );
  }
  let paced = await readPaced(stream);
  for (let i = 0; i < 20 && paced.sent - paced.got > 20; i++) paced = await readPaced(stream);
  assert.equal(paced.error, '');
  assert.ok(paced.sent - paced.got <= 20, `every byte came back: ${JSON.stringify(paced)}`);
  t.diagnostic(`longest pause of the stream over three restarts: ${paced.longest} ms`);
  assert.ok(paced.longest < 3000, `the stream paused for ${paced.longest} ms`);
  assert.equal(await denied.fresh(), '0', 'answers to what is denied');
  observerClient.close();
  stream.kill();
  denied.kill();
  await Promise.all([stream.done, denied.done]);
});

test('on a disk that takes nothing the switch comes back, and what could not be kept is not acknowledged', async () => {
  // A folder in the way of the file that is written first fails as a full disk does, for root too.
  const inTheWay = [join(run, 'switch-state.json.next'), join(run, 'switch-image.next')] as const;
  for (const folder of inTheWay) mkdirSync(folder);
  let agent = await TestClient.connect(run, { type: 'hello', role: 'agent', epoch: 1 });
  const before = await agent.status();
  process.kill(before.pid, 'SIGKILL');
  agent.close();
  agent = await TestClient.connect(run, { type: 'hello', role: 'agent', epoch: 1 });
  assert.notEqual((await agent.status()).pid, before.pid);
  assert.match(supervised.log, /the state cannot be written/);
  assert.equal(await pods.run(client, udpClient, '10.42.0.2', 7000, 10).line(), '10');
  assert.equal(await pods.run(client, udpClient, '10.42.0.3', 7000, 10).line(), 'timeout');

  const kept = readFileSync(join(run, 'switch-image'));
  const next = join(run, 'image-next');
  const named = [client, server, closed].map(({ namespace, name, addresses }) => ({
    namespace,
    name,
    addresses,
    labels: { name },
  }));
  writeFileSync(next, imageOf(named, [denyIngress('test', { name: 'pod-2' })]));
  const publish = { type: 'publish', epoch: 1, revision: 8, image: next, ports: [client, server, closed] };
  assert.notEqual((await agent.ask(publish))?.type, 'acknowledge');
  assert.deepEqual(readFileSync(join(run, 'switch-image')), kept);
  // In force all the same: it is the newest word there is.
  assert.equal(await pods.run(client, udpClient, '10.42.0.2', 7000, 10).line(), 'timeout');
  for (const folder of inTheWay) rmdirSync(folder);
  assert.equal((await agent.ask(publish))?.type, 'acknowledge');
  assert.deepEqual(readFileSync(join(run, 'switch-image')), readFileSync(next), 'acknowledged is kept');
  const back = await agent.ask({ ...publish, revision: 7, image: join(run, 'image') });
  assert.equal(back?.type, 'acknowledge');
  agent.close();
});

test('without the supervisor ports come back by their namespace path, with the same device', async () => {
  const index = pods.inside(client, 'cat', '/proc/net/dev').includes('eth0');
  assert.ok(index);
  supervised.kill();
  await supervised.ended;
  for (let i = 0; i < 200 && carrier(client); i++) await new Promise((resolve) => setTimeout(resolve, 10));
  assert.equal(carrier(client), false, 'the switch died with its supervisor');
  supervised = new SupervisedSwitch(run);
  const observerClient = await TestClient.connect(run, observer);
  const answer = await observerClient.ask({ type: 'query', what: 'ports' });
  assert.ok(answer?.type === 'answer' && answer.what === 'ports');
  assert.deepEqual(
    answer.data.map(({ status, origin }) => [status, origin]),
    [1, 2, 3].map(() => ['live', 're-attached']),
  );
  assert.equal(await pods.run(client, udpClient, '10.42.0.2', 7000, 10).line(), '10');
  assert.equal(await pods.run(client, udpClient, '10.42.0.3', 7000, 10).line(), 'timeout');
  observerClient.close();
});

test('a namespace that went while the switch was away costs only its port', async () => {
  const observerClient = await TestClient.connect(run, observer);
  const { pid } = await observerClient.status();
  // Held by the descriptor of the re-attached port until that is closed.
  pods.remove(closed);
  process.kill(pid, 'SIGKILL');
  observerClient.close();
  const next = await TestClient.connect(run, observer);
  const answer = await next.ask({ type: 'query', what: 'ports' });
  assert.ok(answer?.type === 'answer' && answer.what === 'ports');
  const failed = answer.data.find(({ id }) => id === closed.id);
  assert.equal(failed?.status, 'failed');
  assert.equal(failed?.error?.code, 'namespace-gone');
  assert.equal(await pods.run(client, udpClient, '10.42.0.2', 7000, 10).line(), '10');
  next.close();
});

test('a state file that is damaged is refused with a word, and nothing passes until an agent publishes', async () => {
  const observerClient = await TestClient.connect(run, observer);
  const { pid } = await observerClient.status();
  observerClient.close();
  writeFileSync(join(run, 'switch-state.json'), '{"version":1,"epoch":');
  process.kill(pid, 'SIGKILL');
  const agent = await TestClient.connect(run, { type: 'hello', role: 'agent', epoch: 2 });
  assert.equal((await agent.status()).generation === '0' || (await agent.status()).imageBytes === 0, true);
  assert.match(supervised.log, /state was refused/);
  assert.equal(await pods.run(client, udpClient, '10.42.0.2', 7000, 10).line(), 'timeout');
  const answer = await agent.ask({
    type: 'publish',
    epoch: 2,
    revision: 1,
    image: join(run, 'image'),
    ports: [client, server],
  });
  assert.ok(answer?.type === 'acknowledge');
  assert.deepEqual(
    answer.ports.map(({ status }) => status),
    ['live', 'live'],
  );
  assert.equal(await pods.run(client, udpClient, '10.42.0.2', 7000, 10).line(), '10');
  agent.close();
});

test('a second switch on the same run directory ends with one sentence and disturbs nothing', async () => {
  const second = new SwitchAlone(run);
  assert.equal(await second.ended, 1);
  assert.match(second.log, /another switch runs on this run directory/);
  assert.equal(await pods.run(client, udpClient, '10.42.0.2', 7000, 10).line(), '10');
});

test('SIGTERM ends supervisor and switch; interfaces stay for the next', async () => {
  assert.equal(await supervised.stop(), 0);
  assert.match(pods.inside(client, 'ip', 'link', 'show', 'eth0'), /NO-CARRIER/);
});
