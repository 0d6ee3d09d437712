/**
 * Restarts under traffic, in a lab: an echo over one TCP connection goes on while the agent or the switch is killed, and a pod that is
 * denied tries to get through all the while and never does.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { after, before, describe, test } from 'node:test';
import { parseManifests } from '../../src/manifests/parse.js';
import { startTestLab, type TestLab } from '../support/lab.js';
import { pidNamespace, processesIn, until } from '../support/weft.js';

const manifests = `
apiVersion: v1
kind: Pod
metadata: {name: server, namespace: x, labels: {app: server}}
spec: {containers: [{name: c, ports: [{containerPort: 80}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: x, labels: {app: client}}
---
apiVersion: v1
kind: Pod
metadata: {name: denied, namespace: x}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: server, namespace: x}
spec:
  podSelector: {matchLabels: {app: server}}
  ingress: [{from: [{podSelector: {matchLabels: {app: client}}}]}]
`;

const server = `require('net').createServer((s) => s.on('error', () => {}).pipe(s)).listen(7000, '::', () => console.log('ready'))`;
/** Sends a number every 5 ms; prints how long each took to come back when it took more than 20 ms, and once a second how many came. */
const client = (address: string) => `
const s = require('net').connect(7000, '${address}');
s.setNoDelay(true);
let sent = 0, heard = 0; const at = new Map();
s.on('connect', () => { console.log('connected');
  setInterval(() => { at.set(++sent, performance.now()); s.write(sent + '\\n'); }, 5);
  setInterval(() => console.log('heard ' + heard), 200); });
let rest = '';
s.on('data', (d) => { const lines = (rest + d).split('\\n'); rest = lines.pop();
  for (const line of lines) { const n = Number(line); if (n !== ++heard) console.log('wrong ' + n);
    const took = performance.now() - at.get(n); at.delete(n); if (took > 20) console.log('slow ' + took.toFixed(0)); } });
s.on('error', (e) => { console.log('error ' + e.code); process.exit(1); });
s.on('close', () => { console.log('closed'); process.exit(1); });`;
const intruder = (address: string) => `
const net = require('net'); let tries = 0;
setInterval(() => { const s = net.connect(7000, '${address}'); tries++; s.setTimeout(300, () => s.destroy());
  s.on('connect', () => { console.log('INSIDE'); s.destroy(); }); s.on('error', () => {}); }, 10);
setInterval(() => console.log('tries ' + tries), 200);`;

interface Talker {
  readonly lines: string[];
  readonly child: ChildProcess;
}

describe('restarts under traffic', () => {
  let lab: TestLab;
  let namespace = '';
  const talkers: Talker[] = [];
  let echo: Talker;
  let denied: Talker;

  /** Runs a script inside a pod's network namespace. */
  async function talk(pod: string, script: string): Promise<Talker> {
    const { netns } = await lab.client.request('place', { pod });
    const pid = String(lab.client.lab.pid);
    const child = spawn('nsenter', [
      '-t',
      pid,
      '-m',
      '--',
      'nsenter',
      `--net=${netns}`,
      process.execPath,
      '-e',
      script,
    ]);
    const lines: string[] = [];
    createInterface({ input: child.stdout! }).on('line', (line) => lines.push(line));
    createInterface({ input: child.stderr! }).on('line', (line) => lines.push(`stderr ${line}`));
    const talker = { lines, child };
    talkers.push(talker);
    return talker;
  }

  /** Lines before this one belong to an earlier test. */
  let mark = 0;
  const heard = () => Number(echo.lines.findLast((line) => line.startsWith('heard '))?.slice(6) ?? 0);
  const slowest = () =>
    Math.max(
      0,
      ...echo.lines
        .slice(mark)
        .filter((line) => line.startsWith('slow '))
        .map((line) => Number(line.slice(5))),
    );

  /** The lab's processes whose command line has this word. */
  const running = (word: string) =>
    processesIn(namespace).filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').includes(word);
      } catch {
        return false;
      }
    });
  const killOne = (pids: readonly number[]) => {
    assert.equal(pids.length, 1, `one process, not ${pids.length}`);
    process.kill(pids[0]!, 'SIGKILL');
  };

  before(async () => {
    lab = await startTestLab();
    namespace = pidNamespace(lab.client.lab.pid);
    await lab.replace(parseManifests(manifests, 'test').objects.map(({ value }) => value));
    const { pods } = await lab.client.request('status', {});
    const address = pods.find(({ pod }) => pod === 'x/server')!.addresses[0]!;
    const listening = await talk('x/server', server);
    await until('the server listens', 5, () => listening.lines.includes('ready'));
    echo = await talk('x/client', client(address));
    denied = await talk('x/denied', intruder(address));
    await until('the echo runs', 5, () => heard() > 50);
  });
  after(async () => {
    for (const { child } of talkers)
      if (child.exitCode === null && child.kill('SIGKILL')) await once(child, 'exit');
    await lab?.end();
  });

  const stillFine = () => {
    assert.deepEqual(
      echo.lines.filter((line) => /^(wrong|error|closed|stderr)/.test(line)),
      [],
    );
    assert.ok(!denied.lines.includes('INSIDE'), 'the denied pod got through');
    assert.ok(denied.lines.some((line) => /^tries [1-9]/.test(line)));
  };
  const goesOn = async (seconds: number) => {
    const from = heard();
    await until('the echo goes on', seconds, () => heard() > from + 100);
  };

  test('kill -9 of the agent loses nothing, and the next agent takes over', async () => {
    mark = echo.lines.length;
    const before = running('agent');
    killOne(before);
    await until(
      'another agent',
      10,
      () => running('agent').length === 1 && running('agent')[0] !== before[0],
    );
    await goesOn(5);
    stillFine();
    // A lost packet would be sent again after 200 ms at the earliest.
    assert.ok(slowest() < 200, `an echo took ${slowest()} ms`);
    const [cell] = (
      await lab.client.request('ask', {
        questions: [{ from: 'x/client', to: 'x/server', port: 80, protocol: 'TCP' }],
      })
    ).cells;
    assert.equal(cell?.measured, 'allowed');
  });

  test('kill -9 of the switch is survived without a reset, and nothing denied passes', async (context) => {
    mark = echo.lines.length;
    const before = running('--supervised-fd');
    killOne(before);
    const killed = performance.now();
    await until(
      'another switch',
      5,
      () => running('--supervised-fd').length === 1 && running('--supervised-fd')[0] !== before[0],
    );
    context.diagnostic(`the next switch was started after ${(performance.now() - killed).toFixed(0)} ms`);
    await goesOn(10);
    stillFine();
    context.diagnostic(`longest echo across the restart: ${slowest()} ms`);
    assert.ok(slowest() < 5000, `an echo took ${slowest()} ms`);
  });

  test('kill -9 of both while their configuration file is broken: they come back with the last good one', async () => {
    const file = `/proc/${lab.client.lab.pid}/root/run/weft-lab/config.yaml`;
    const good = readFileSync(file, 'utf8');
    writeFileSync(file, `${good}log: [\n`);
    try {
      const before = { agent: running('agent'), switch: running('--supervised-fd') };
      killOne(before.switch);
      killOne(before.agent);
      await until(
        'another switch and another agent',
        10,
        () =>
          running('--supervised-fd').length === 1 &&
          running('--supervised-fd')[0] !== before.switch[0] &&
          running('agent').length === 1 &&
          running('agent')[0] !== before.agent[0],
      );
      await goesOn(10);
      stillFine();
    } finally {
      writeFileSync(file, good);
    }
  });

  test('a policy that forbids a running connection ends it at its next packet; taking it away lets it go on', async () => {
    const closed = manifests.replace('app: client}}}]}]', 'app: nobody}}}]}]');
    await lab.replace(parseManifests(closed, 'test').objects.map(({ value }) => value));
    await new Promise((resolve) => setTimeout(resolve, 300));
    const stopped = heard();
    await new Promise((resolve) => setTimeout(resolve, 600));
    assert.equal(heard(), stopped, 'nothing comes back any more');
    // Neither does a new switch, which knows the connection only from its file, take it up again.
    const before = running('--supervised-fd');
    killOne(before);
    await until(
      'another switch',
      5,
      () => running('--supervised-fd').length === 1 && running('--supervised-fd')[0] !== before[0],
    );
    await new Promise((resolve) => setTimeout(resolve, 1500));
    assert.equal(heard(), stopped, 'nothing comes back after a restart of the switch either');
    await lab.replace(parseManifests(manifests, 'test').objects.map(({ value }) => value));
    await goesOn(10);
    stillFine();
  });
});
