/** weft-supervise with small programs in the place of switch and agent: restarts, signals, statuses. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { supervisorProgram } from '../../support/supervised.js';

const skip = existsSync(supervisorProgram) ? false : `${supervisorProgram} is not built`;

/** Runs `script` with sh under the supervisor; each start appends a line to the file that $1 names. */
function supervise(t: { after(end: () => void): void }, script: string, options: readonly string[] = []) {
  const folder = mkdtempSync(join(tmpdir(), 'weft-supervise-'));
  const file = join(folder, 'starts');
  const program = ['sh', '-c', `echo "$$ $*" >> ${file}; ${script}`, 'sh'];
  const child = spawn(supervisorProgram, [...options, '--', ...program], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let log = '';
  child.stderr.on('data', (data: Buffer) => {
    log += data.toString();
  });
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  t.after(() => {
    child.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  });
  const starts = () => (existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n') : []);
  const started = async (count: number) => {
    for (let i = 0; i < 500 && starts().length < count; i++) await new Promise((r) => setTimeout(r, 10));
    return starts();
  };
  return { child, ended, started, starts, log: () => log };
}

test('the program gets the socket appended to its arguments, and it is an open socket there', {
  skip,
}, async (t) => {
  const run = supervise(t, 'test -S /proc/self/fd/$2 && exec sleep 100; exit 2');
  const [line] = await run.started(1);
  assert.match(line ?? '', /^\d+ --supervised-fd \d+$/);
  await new Promise((r) => setTimeout(r, 100));
  assert.equal(run.child.exitCode, null);
});

test('a program that dies after a while is started again at once', { skip }, async (t) => {
  const run = supervise(t, 'exec sleep 100');
  const [first] = await run.started(1);
  await new Promise((r) => setTimeout(r, 1100));
  process.kill(Number(first?.split(' ')[0]), 'SIGKILL');
  assert.equal((await run.started(2)).length, 2);
  // What it says may arrive here after what it did.
  for (let i = 0; i < 100 && !run.log().includes('starting it again'); i++)
    await new Promise((r) => setTimeout(r, 20));
  assert.match(run.log(), /signal 9.*starting it again in 0 ms/s);
});

test('a program that is only started again goes first, and gets no socket and no argument', {
  skip,
}, async (t) => {
  const run = supervise(t, 'echo "nice $(nice)" >&2; ls -l /proc/self/fd >&2; exec sleep 100', [
    '--restart-only',
  ]);
  const [first] = await run.started(1);
  assert.match(first ?? '', /^\d+ ?$/);
  await new Promise((r) => setTimeout(r, 1100));
  assert.doesNotMatch(run.log(), / (?:[3-9]|\d\d+) -> socket:/);
  // Without the right to it, it runs as others do.
  if (process.geteuid?.() === 0) assert.match(run.log(), /^nice -10$/m);
  process.kill(Number(first), 'SIGKILL');
  const [, second] = await run.started(2);
  assert.match(second ?? '', /^\d+ ?$/);
  run.child.kill('SIGTERM');
  assert.equal(await run.ended, 128 + 15);
});

test('a program that dies at once is started again more and more slowly', { skip }, async (t) => {
  const run = supervise(t, 'exit 1');
  await new Promise((r) => setTimeout(r, 1000));
  // At 0, 0, 50, 150, 350 and 750 ms; never in a loop.
  const count = run.starts().length;
  assert.ok(count >= 4 && count <= 7, `${count} starts in a second`);
});

test('exit status 2, bad usage, is the end: starting it again cannot help', { skip }, async (t) => {
  const run = supervise(t, 'exit 2');
  assert.equal(await run.ended, 2);
  assert.equal(run.starts().length, 1);
});

test('SIGTERM goes to the program, and the supervisor ends with its status', { skip }, async (t) => {
  const run = supervise(t, `trap 'exit 7' TERM; while :; do sleep 0.05; done`);
  await run.started(1);
  await new Promise((r) => setTimeout(r, 100));
  run.child.kill('SIGTERM');
  assert.equal(await run.ended, 7);
  assert.equal(run.starts().length, 1);
});

test('SIGHUP goes to the program and ends nothing', { skip }, async (t) => {
  const run = supervise(t, `trap : HUP; while :; do sleep 0.05; done`);
  await run.started(1);
  await new Promise((r) => setTimeout(r, 100));
  run.child.kill('SIGHUP');
  await new Promise((r) => setTimeout(r, 200));
  assert.equal(run.child.exitCode, null);
  assert.equal(run.starts().length, 1);
});

test('when the supervisor is killed the program goes with it, so that the next supervisor finds the lock free', {
  skip,
}, async (t) => {
  const run = supervise(t, 'exec sleep 100');
  const [line] = await run.started(1);
  const pid = Number(line?.split(' ')[0]);
  run.child.kill('SIGKILL');
  await run.ended;
  for (let i = 0; i < 100 && runs(pid); i++) await new Promise((r) => setTimeout(r, 10));
  assert.equal(runs(pid), false);
});

/** A process that has ended and that nobody has reaped yet does not run. */
function runs(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

test('without a program it says how it is used', { skip }, async () => {
  const child = spawn(supervisorProgram, [], { stdio: ['ignore', 'ignore', 'pipe'] });
  let log = '';
  child.stderr.on('data', (data: Buffer) => {
    log += data.toString();
  });
  const status = await new Promise((resolve) => child.once('close', resolve));
  assert.equal(status, 2);
  assert.match(log, /usage: weft-supervise \[--restart-only\] -- PROGRAM/);
});
