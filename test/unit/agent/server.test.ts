/** The agent's socket and its lock: one agent at a time, whatever its predecessor left and whoever starts in the same moment. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { AgentServer } from '../../../src/agent/server.js';
import { loadAddon } from '../../../src/dataplane/addon.js';
import type { WeftError } from '../../../src/errors/problem.js';

function setUp(context: TestContext) {
  const folder = mkdtempSync(join(tmpdir(), 'weft-agent-server-'));
  const path = join(folder, 'agent.sock');
  const servers: AgentServer[] = [];
  context.after(async () => {
    for (const server of servers) await server.close().catch(() => {});
    rmSync(folder, { recursive: true, force: true });
  });
  const server = () => {
    const made = new AgentServer(
      path,
      () => ({ pid: 1, uid: 0 }),
      loadAddon().lockFile,
      (_message, client) => client.send({ type: 'heard' }),
    );
    servers.push(made);
    return made;
  };
  return { path, server };
}

/** The first line that is answered there. */
function asked(path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(path, () => socket.write('{"type":"status","id":1}\n'));
    socket.setEncoding('utf8').on('data', (text: string) => {
      resolve(text.trim());
      socket.destroy();
    });
    socket.on('error', reject);
  });
}

test('of agents that start in the same moment one listens, and the others are told so', async (context) => {
  const { path, server } = setUp(context);
  // What an agent that was killed leaves.
  writeFileSync(path, '');
  const started = await Promise.allSettled([server(), server(), server()].map((one) => one.listen()));
  assert.deepEqual(started.map(({ status }) => status).sort(), ['fulfilled', 'rejected', 'rejected']);
  for (const one of started) {
    if (one.status === 'fulfilled') continue;
    assert.equal((one.reason as WeftError).code, 'agent-running');
    assert.match((one.reason as WeftError).message, /agent\.sock\.lock.*Stop it first/);
  }
  assert.equal(await asked(path), '{"type":"heard"}');
});

test('an agent that ended leaves no lock', async (context) => {
  const { path, server } = setUp(context);
  for (let i = 0; i < 3; i++) {
    const one = server();
    await one.listen();
    assert.equal(await asked(path), '{"type":"heard"}');
    await one.close();
  }
});

test('one that answers without a lock, as one of an older version does, is respected', async (context) => {
  const { path, server } = setUp(context);
  const older = new AgentServer(
    path,
    () => null,
    () => loadAddon().lockFile(`${path}.other`),
    () => {},
  );
  await older.listen();
  context.after(() => older.close());
  await assert.rejects(server().listen(), /answers at/);
  await older.close();
  const successor = server();
  await successor.listen();
});
