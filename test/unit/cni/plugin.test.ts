/** The real weft-cni beside an agent that the test plays: what it does alone, what it hands on, what it makes of an answer. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { Lines } from '../../../src/dataplane/lines.js';
import { eventually } from '../../support/agent-fixture.js';
import { pluginPath, runPlugin, startPlugin } from '../../support/cni.js';

const environment = {
  CNI_COMMAND: 'DEL',
  CNI_CONTAINERID: 'c0ffee',
  CNI_IFNAME: 'eth0',
  CNI_NETNS: '/no/such/namespace',
  CNI_PATH: '/opt/cni/bin',
  CNI_ARGS: 'A="x";B=\n',
  PATH: '/secret',
};

interface FakeAgent {
  readonly run: string;
  readonly requests: Readonly<Record<string, unknown>>[];
  /** Connections that are open. */
  readonly open: Set<Socket>;
}

async function fakeAgent(
  t: TestContext,
  answer: (request: Readonly<Record<string, unknown>>, socket: Socket) => void,
): Promise<FakeAgent> {
  const run = folder(t);
  const agent: FakeAgent = { run, requests: [], open: new Set() };
  const server = createServer((socket) => {
    agent.open.add(socket);
    new Lines(socket, 8 * 1024 * 1024, {
      message: (value) => {
        agent.requests.push(value);
        answer(value, socket);
      },
      garbage: (line) => assert.fail(`no JSON: ${line}`),
      closed: () => agent.open.delete(socket),
    });
  });
  await new Promise<void>((resolve) => server.listen(join(run, 'agent.sock'), resolve));
  t.after(() => {
    for (const socket of agent.open) socket.destroy();
    server.close();
  });
  return agent;
}

function folder(t: TestContext): string {
  const run = mkdtempSync(join(tmpdir(), 'weft-cni-'));
  t.after(() => rmSync(run, { recursive: true, force: true }));
  return run;
}

const configuration = (run: string, change: object = {}) => ({
  cniVersion: '0.4.0',
  name: 'weft',
  type: 'weft-cni',
  runDir: run,
  connectTimeout: 0,
  ...change,
});

test('the plugins are small and stand alone', () => {
  for (const name of ['weft-cni', 'loopback'] as const)
    assert.ok(statSync(pluginPath(name)).size < 1_000_000, name);
});

test('VERSION needs neither agent nor configuration', async () => {
  for (const name of ['weft-cni', 'loopback'] as const) {
    const { status, json } = await runPlugin(name, { CNI_COMMAND: 'VERSION' }, 'no JSON');
    assert.equal(status, 0);
    assert.deepEqual(json, {
      cniVersion: '1.1.0',
      supportedVersions: ['0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0'],
    });
  }
});

test('a bad environment is code 4 with the names, whatever the agent', async () => {
  for (const [change, expected] of [
    [{ CNI_COMMAND: '' }, /CNI_COMMAND/],
    [{ CNI_COMMAND: 'CREATE' }, /CNI_COMMAND/],
    [{ CNI_COMMAND: 'ADD', CNI_NETNS: '', CNI_IFNAME: '' }, /CNI_NETNS, CNI_IFNAME/],
    [{ CNI_IFNAME: 'a/b' }, /CNI_IFNAME/],
    [{ CNI_CONTAINERID: '-' }, /CNI_CONTAINERID/],
  ] as const) {
    const { status, json } = await runPlugin('weft-cni', { ...environment, ...change }, {});
    assert.deepEqual([status, json.code], [1, 4]);
    assert.match(json.msg ?? '', expected);
  }
});

test('an agent that is away is code 11, for STATUS 50, in the version asked for', async (t) => {
  const run = folder(t);
  for (const [command, code] of [
    ['ADD', 11],
    ['DEL', 11],
    ['CHECK', 11],
    ['GC', 11],
    ['STATUS', 50],
  ] as const) {
    const { status, json, stderr } = await runPlugin(
      'weft-cni',
      { ...environment, CNI_COMMAND: command },
      configuration(run),
    );
    assert.deepEqual([status, json.code, json.cniVersion], [1, code, '0.4.0'], command);
    assert.match(json.details ?? '', new RegExp(`${run}/agent.sock: connect: `));
    assert.match(stderr, /weft-cni: /);
  }
  const broken = await runPlugin(
    'weft-cni',
    environment,
    `{"cniVersion":"1.0.0","runDir":"${run}","connectTimeout":0,`,
  );
  assert.deepEqual([broken.json.code, broken.json.cniVersion], [11, '1.0.0']);
});

for (const [command, connectTimeout] of [
  ['DEL', 20_000],
  // Five times as long.
  ['STATUS', 4000],
] as const)
  test(`an agent that comes within the patience is waited for by ${command}`, async (t) => {
    const run = folder(t);
    const call = startPlugin(
      'weft-cni',
      { ...environment, CNI_COMMAND: command },
      configuration(run, { connectTimeout }),
    );
    await new Promise((resolve) => setTimeout(resolve, 100));
    assert.equal(call.child.exitCode, null, 'it waits');
    const server = createServer((socket) => {
      socket.once('data', () => socket.write('{"type":"cni","id":1,"exitStatus":0,"stdout":""}\n'));
    });
    await new Promise<void>((resolve) => server.listen(join(run, 'agent.sock'), resolve));
    t.after(() => server.close());
    const { status, stdout } = await call.done;
    assert.deepEqual([status, stdout], [0, '']);
  });

test('the call is handed on whole: CNI variables only, the configuration as it is, what was seen for ADD and CHECK', async (t) => {
  const agent = await fakeAgent(t, (_, socket) =>
    socket.write(
      `${JSON.stringify({ type: 'cni', id: 1, exitStatus: 0, stdout: '{"ok":"é\u{1f600}\\n"}\n' })}\n`,
    ),
  );
  const text = JSON.stringify(configuration(agent.run), null, 1).replace('weft"', 'w\\u00e9ft"');
  const { status, stdout } = await runPlugin('weft-cni', environment, text);
  assert.deepEqual([status, stdout], [0, '{"ok":"é\u{1f600}\\n"}\n']);
  const { PATH: _, ...variables } = environment;
  assert.equal(agent.requests.length, 1);
  assert.deepEqual(agent.requests[0], { type: 'cni', id: 1, environment: variables, stdin: text });
  await runPlugin('weft-cni', { ...environment, CNI_COMMAND: 'ADD' }, text);
  assert.deepEqual(agent.requests.find((one) => 'namespace' in one)?.namespace, {
    state: 'missing',
    error: 'open: No such file or directory',
  });
});

test('after an ADD the plugin says that the runtime has it; after a failed one it does not', async (t) => {
  let exitStatus = 0;
  const agent = await fakeAgent(t, (request, socket) => {
    if (request.type === 'cni')
      socket.write(`${JSON.stringify({ type: 'cni', id: 1, exitStatus, stdout: '{}\n' })}\n`);
  });
  const add = { ...environment, CNI_COMMAND: 'ADD' };
  assert.equal((await runPlugin('weft-cni', add, configuration(agent.run))).status, 0);
  await eventually('it is said', () => agent.requests.length === 2);
  assert.deepEqual(agent.requests[1], { type: 'cni-taken', id: 1 });
  exitStatus = 1;
  assert.equal((await runPlugin('weft-cni', add, configuration(agent.run))).status, 1);
  await eventually('the connection has ended', () => agent.open.size === 0);
  assert.equal(agent.requests.length, 3);
});

test('a plugin whose output nobody reads does not say that it was taken', async (t) => {
  const agent = await fakeAgent(t, () => {});
  const { child, done } = startPlugin(
    'weft-cni',
    { ...environment, CNI_COMMAND: 'ADD' },
    configuration(agent.run),
  );
  await eventually('the request is there', () => agent.requests.length === 1);
  child.stdout?.destroy();
  // Not before the pipe is closed at this end.
  await new Promise((resolve) => setTimeout(resolve, 50));
  for (const socket of agent.open)
    socket.write(`${JSON.stringify({ type: 'cni', id: 1, exitStatus: 0, stdout: '{}\n' })}\n`);
  assert.equal((await done).status, 1);
  assert.equal(agent.requests.length, 1);
});

test("standard streams that are closed are nobody else's: no answer goes to the agent, and an ADD is not taken", async (t) => {
  const agent = await fakeAgent(t, (_, socket) =>
    socket.write(`${JSON.stringify({ type: 'cni', id: 1, exitStatus: 0, stdout: '{}\n' })}\n`),
  );
  const text = JSON.stringify(configuration(agent.run));
  const closed = async (streams: string) => {
    const child = spawn('/bin/sh', ['-c', `exec "$0" ${streams}`, pluginPath('weft-cni')], {
      env: { ...environment, CNI_COMMAND: 'ADD' },
      stdio: ['pipe', 'ignore', 'ignore'],
    });
    child.stdin.on('error', () => {});
    child.stdin.end(text);
    const [status] = (await once(child, 'exit')) as [number];
    await eventually('the connection has ended', () => agent.open.size === 0);
    return status;
  };
  assert.equal(await closed('>&-'), 1);
  assert.equal(await closed('>&- 2>&-'), 1);
  assert.deepEqual(
    agent.requests.map(({ type }) => type),
    ['cni', 'cni'],
  );
  assert.equal(await closed('<&-'), 1);
  assert.equal(agent.requests.length, 2);
});

test('an agent that refuses, hangs, breaks off or talks nonsense is code 11, and says why', async (t) => {
  for (const [what, answer, details] of [
    ['refuses', '{"type":"error","id":0,"code":"peer-refused","message":"Only root."}\n', /Only root/],
    ['breaks off', null, /closed the connection/],
    ['talks nonsense', 'nonsense\n', /something else than a CNI answer/],
    ['hangs', '', /not answered in time/],
  ] as const) {
    const agent = await fakeAgent(t, (_, socket) => {
      if (answer === null) socket.destroy();
      else socket.write(answer);
    });
    const { status, json } = await runPlugin(
      'weft-cni',
      environment,
      configuration(agent.run, { answerTimeout: 300 }),
    );
    assert.deepEqual([status, json.code], [1, 11], what);
    assert.match(json.details ?? '', details, what);
  }
});

test('a configuration that does not end or is too long is code 5', async () => {
  const { json } = await runPlugin('weft-cni', environment, ' '.repeat(600 * 1024));
  assert.equal(json.code, 5);
  assert.match(json.details ?? '', /longer than/);
});

test('a signal ends the plugin and with it the connection', async (t) => {
  const agent = await fakeAgent(t, () => {});
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    const { child, done } = startPlugin(
      'weft-cni',
      { ...environment, CNI_COMMAND: 'ADD' },
      configuration(agent.run),
    );
    await eventually('the request is there', () => agent.open.size === 1);
    child.kill(signal);
    assert.equal((await done).signal, signal);
    await eventually('the connection has ended', () => agent.open.size === 0);
  }
});
