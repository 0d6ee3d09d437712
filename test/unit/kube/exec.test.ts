/** Programs in containers through the API server: both subprotocols, framing, ends and refusals. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { KubeClient } from '../../../src/kube/client.js';
import { type ExecStream, exec } from '../../../src/kube/exec.js';
import { eventually } from '../../support/agent-fixture.js';
import { ExecEndpoint } from '../../support/exec-endpoint.js';
import { apiServer, plainAccess } from '../../support/kube.js';

async function cluster(t: TestContext, script: string) {
  const server = await apiServer(t);
  const endpoint = new ExecEndpoint(server, ({ pod }) =>
    pod === 'p' ? [process.execPath, '-e', script] : null,
  );
  const client = new KubeClient(plainAccess(server.url));
  t.after(() => client.close());
  const run = (pod = 'p') =>
    exec(client, { namespace: 'ns', pod, container: 'c', command: ['weft', 'two words', 'ä'] });
  return { server, endpoint, run };
}

async function output(stream: ExecStream): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of stream) parts.push(part as Buffer);
  return Buffer.concat(parts);
}

const cat = 'process.stdin.pipe(process.stdout)';
const large = Buffer.alloc(300_001, 'weft and more ');

test('what is written comes out, at every length, in the newer protocol, which can end standard input', async (t) => {
  const { endpoint, run } = await cluster(t, cat);
  for (const length of [0, 1, 124, 125, 126, 65_534, 65_535, 65_536, large.length]) {
    const stream = await run();
    stream.end(large.subarray(0, length));
    assert.ok((await output(stream)).equals(large.subarray(0, length)), `${length} bytes`);
  }
  assert.deepEqual(endpoint.asked[0], {
    namespace: 'ns',
    pod: 'p',
    container: 'c',
    command: ['weft', 'two words', 'ä'],
  });
});

test('messages in fragments, with pings between, as of the older protocol', async (t) => {
  const { endpoint, run } = await cluster(
    t,
    `${cat}; process.stdin.once('data', () => setTimeout(() => process.exit(0), 200))`,
  );
  endpoint.protocols = ['v4.channel.k8s.io'];
  endpoint.pieces = (message) => [message.subarray(0, 1), message.subarray(1, 3), message.subarray(3)];
  const stream = await run();
  stream.write('some words');
  assert.equal((await output(stream)).toString(), 'some words');
  assert.ok(endpoint.pongs >= 2);
});

test('a program that fails: what it said is what went wrong', async (t) => {
  const { run } = await cluster(t, 'process.stderr.write("weft: no such thing\\n"); process.exit(3)');
  await assert.rejects(output(await run()), /^KubeError: no such thing$|no such thing/);
  await assert.rejects(output(await run('other')), /container not found/);
});

test('a stream that is cut is an error, and the program reads its end', async (t) => {
  const { endpoint, run } = await cluster(t, `${cat}; process.stdout.write("up")`);
  const stream = await run();
  await once(stream, 'data');
  assert.equal(endpoint.running.size, 1);
  endpoint.cut();
  await assert.rejects(output(stream), /broke off|ECONNRESET/);
  await eventually('the program has ended', () => endpoint.running.size === 0);
});

test('who ends the stream ends the program', async (t) => {
  const { endpoint, run } = await cluster(t, `${cat}; process.stdout.write("up")`);
  const stream = await run();
  await once(stream, 'data');
  stream.destroy();
  await eventually('the program has ended', () => endpoint.running.size === 0);
});

test('403 names the rule that is missing, 404 and 401 are what the server says', async (t) => {
  const { server, run } = await cluster(t, cat);
  for (const [status, code, says] of [
    [403, 'kube-forbidden', /answered 403 .*resources: \[pods\/exec\], verbs: \[get, create\]/],
    [404, 'kube-absent', /answered 404/],
    [401, 'kube-unauthorized', /answered 401/],
  ] as const) {
    server.misbehave = () => ({ status });
    await assert.rejects(run(), (error: Error & { code: string }) => {
      assert.equal(error.code, code);
      assert.match(error.message, says);
      return true;
    });
  }
});

test('a server that upgrades to nothing we speak, or to no WebSocket at all, is refused', async (t) => {
  const { endpoint, run } = await cluster(t, cat);
  endpoint.protocols = ['v1.channel.k8s.io'];
  await assert.rejects(run(), /does not speak one of the protocols/);
  const odd = createServer((socket: Socket) => {
    socket.on('error', () => {});
    socket.once('data', () =>
      socket.write(
        'HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: x\r\nsec-websocket-protocol: v4.channel.k8s.io\r\n\r\n',
      ),
    );
  });
  await new Promise<void>((resolve) => odd.listen(0, '127.0.0.1', resolve));
  t.after(() => odd.close());
  const { port } = odd.address() as { port: number };
  const client = new KubeClient(plainAccess(`http://127.0.0.1:${port}`));
  t.after(() => client.close());
  await assert.rejects(exec(client, { namespace: 'n', pod: 'p', container: 'c', command: ['x'] }), {
    code: 'kube-garbled',
  });
});
