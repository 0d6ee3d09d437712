/** The ground that the bench's contenders stand on: undone in every way that a run can end. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { makeSite, onStage, Program, run, Stage, sweepDeadRuns } from '../../bench/contenders/site.js';

const module = fileURLToPath(new URL('../../bench/contenders/site.js', import.meta.url));

/** A process that stands on a stage with a program inside; prints its tag and the program's pid. */
const holder = `
const { makeSite, Stage } = await import(process.argv[1]);
const site = makeSite();
const stage = new Stage(site);
const netns = await stage.namespace('node');
const program = await stage.start('sleep', ['600'], { netns });
console.log(['held', site.tag, program.pid].join(' '));
if (process.argv[2] === 'exit') process.exit(0);
setTimeout(() => {}, 60_000);
`;

const spaces = (tag: string): readonly string[] =>
  readdirSync('/run/netns').filter((name) => name.startsWith(`weft-bench-${tag}-`));

async function hold(...args: readonly string[]): Promise<{ program: Program; tag: string; pid: number }> {
  const program = await Program.start(
    process.execPath,
    ['--input-type=module', '-e', holder, '--', module, ...args],
    { ready: /held \S+ \d+/ },
  );
  const [, tag, pid] = /held (\S+) (\d+)/.exec(program.said) ?? [];
  return { program, tag: tag!, pid: Number(pid) };
}

/** The kernel ends a process a moment after its parent. */
async function isGone(pid: number): Promise<boolean> {
  for (let turn = 0; turn < 100; turn++) {
    if (!existsSync(`/proc/${pid}`)) return true;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return false;
}

test('a stage undoes what it made, the latest first, once, and all of it when a step fails', async () => {
  const site = makeSite();
  const stage = new Stage(site);
  const netns = await stage.namespace('node');
  const order: string[] = [];
  stage.undo(() => void order.push('first'));
  stage.undo(() => {
    throw new Error('this step fails');
  });
  stage.undo(() => void order.push('last'));
  const sleep = await stage.start('sleep', ['600'], { netns });
  assert.ok(sleep.running);
  await assert.rejects(stage.end(), /this step fails/);
  assert.deepEqual(order, ['last', 'first']);
  assert.equal(sleep.running, false);
  assert.deepEqual(spaces(site.tag), []);
  assert.equal(existsSync(site.folder), false);
  await stage.end();
});

test('what cannot be built is undone before the error is told', async () => {
  const site = makeSite();
  const building = onStage(site, async (stage) => {
    await stage.namespace('node');
    await stage.start('sh', ['-c', 'echo no luck; exit 3'], { ready: /ready/ });
  });
  await assert.rejects(building, /sh ended with 3: no luck/);
  assert.deepEqual(spaces(site.tag), []);
  assert.equal(existsSync(site.folder), false);
});

test('a failed command says what it was and what it complained about', async () => {
  await assert.rejects(
    run('ip', ['link', 'show', 'nothing-there']),
    /^Error: ip link show nothing-there: status 1: .*does not exist/,
  );
});

test('a process that exits without ending its stage takes everything along', async () => {
  const { program, tag, pid } = await hold('exit');
  assert.equal(await program.ended, 0);
  assert.ok(await isGone(pid), 'the program inside');
  assert.deepEqual(spaces(tag), []);
});

test('of a killed process the programs end with it, and the next sweep removes the rest, but nothing of a live one', async () => {
  const [killed, live] = [await hold(), await hold()];
  killed.program.kill();
  await killed.program.ended;
  assert.ok(await isGone(killed.pid), 'the program inside');
  assert.equal(spaces(killed.tag).length, 1);
  const removed = sweepDeadRuns();
  assert.ok(removed.includes(`weft-bench-${killed.tag}-node`));
  assert.deepEqual(spaces(killed.tag), []);
  assert.equal(spaces(live.tag).length, 1);
  live.program.kill();
  await live.program.ended;
  sweepDeadRuns();
  assert.deepEqual(spaces(live.tag), []);
});
