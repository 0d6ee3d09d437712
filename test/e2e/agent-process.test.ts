/** `weft agent` as a process: real peer credentials, signals, a second one, and that its end is quiet. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { getPriority } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { eventually, fixture, policyManifest } from '../support/agent-fixture.js';
import { supervisorProgram } from '../support/supervised.js';
import { startWeft, weft } from '../support/weft.js';

/** Without blocking this process, in which the other side of the switch's socket lives. */
async function run(...args: string[]): Promise<{ status: number | null; out: string; err: string }> {
  const child = startWeft(args);
  const seen = { out: '', err: '' };
  child.stdout?.on('data', (chunk: Buffer) => {
    seen.out += chunk.toString();
  });
  child.stderr?.on('data', (chunk: Buffer) => {
    seen.err += chunk.toString();
  });
  const [status] = (await once(child, 'close')) as [number | null];
  return { status, ...seen };
}

test('weft agent publishes its folder, reloads at SIGHUP, refuses a second one and ends at SIGTERM', async (t) => {
  const f = fixture(t);
  f.write('deny.yaml', policyManifest('shop', 'deny'));
  const double = await f.startSwitch();
  const config = join(f.run, 'weft.yaml');
  const write = (policy: string) =>
    writeFileSync(
      config,
      `node: { name: here, addresses: [192.0.2.1] }\npaths: { run: ${f.run} }\ntelemetry: { port: 0 }\nlog: { format: json }\npolicy: { ownNodeEgress: ${policy} }\n`,
    );
  write('allow');
  const agent = startWeft(['agent', '--config', config]);
  t.after(() => agent.kill('SIGKILL'));
  let log = '';
  agent.stderr?.on('data', (chunk: Buffer) => {
    log += chunk.toString();
  });
  await eventually('the agent has published', () => double.publications.length > 0, 20_000);
  assert.match((await run('status', '--config', config)).out, /^Ready: +yes$/m, 'the kernel vouches for us');

  const lines = () =>
    log
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as { msg: string; port?: number });
  const port = lines().find(({ msg }) => msg === 'serving metrics')?.port;
  const ready = await fetch(`http://127.0.0.1:${port}/readyz`);
  assert.equal(ready.status, 200);
  const metrics = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  assert.match(metrics, /^weft_world_objects\{kind="policy"\} 1$/m);

  const images = () => double.publications.map(({ imageText }) => imageText);
  write('judge');
  agent.kill('SIGHUP');
  await eventually('another image is published', () => new Set(images()).size === 2, 10_000);
  assert.ok(lines().some(({ msg }) => msg === 'configuration changed'));

  const second = await run('agent', '--config', config);
  assert.equal(second.status, 1, 'which its supervisor tries again: the other one may be ending');
  assert.match(second.err, /Another agent has .*agent\.sock\.lock\. Stop it first/);

  const ended = once(agent, 'exit');
  agent.kill('SIGTERM');
  assert.deepEqual(await ended, [0, null]);
  assert.ok(lines().some(({ msg }) => msg.startsWith('agent ended')));
});

test('an agent whose supervisor starts it before others is so in its main thread alone', {
  skip: process.geteuid?.() === 0 ? false : 'not root',
}, async (t) => {
  const f = fixture(t);
  const double = await f.startSwitch();
  const config = join(f.run, 'weft.yaml');
  writeFileSync(
    config,
    `node: { name: here, addresses: [192.0.2.1] }\npaths: { run: ${f.run} }\ntelemetry: { enabled: false }\nagent: { nice: -5 }\n`,
  );
  const entry = join(import.meta.dirname, '..', '..', 'src', 'cli', 'main.js');
  const supervisor = spawn(
    supervisorProgram,
    ['--restart-only', '--', process.execPath, entry, 'agent', '--config', config],
    { stdio: 'ignore' },
  );
  t.after(() => supervisor.kill('SIGKILL'));
  await eventually('the agent has published', () => double.publications.length > 0, 20_000);
  const children = readFileSync(`/proc/${supervisor.pid}/task/${supervisor.pid}/children`, 'utf8');
  const agent = Number(children.trim());
  const values = readdirSync(`/proc/${agent}/task`).map((thread) => [
    Number(thread),
    getPriority(Number(thread)),
  ]);
  assert.ok(values.length > 1);
  for (const [thread, nice] of values) assert.equal(nice, thread === agent ? -5 : 0, `thread ${thread}`);
});

test('weft agent with a broken configuration says where and ends with status 2', (t) => {
  const f = fixture(t);
  const config = join(f.run, 'weft.yaml');
  writeFileSync(config, 'swich: {}\n');
  const run = weft(['agent', '--config', config, '--run-dir', f.run]);
  assert.equal(run.status, 2);
  assert.match(run.stderr, /weft\.yaml:1:1: There is no option swich in the file\. Did you mean switch\?/);
});
