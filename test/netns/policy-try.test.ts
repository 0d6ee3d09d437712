/**
 * `weft policy try` on a real node under real traffic: what it reports of new flows and of connections that were there before, and that no
 * packet meets anything of it, whatever ends it.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { TrialRow, TrialTotals } from '../../src/agent/protocol/events.js';
import type { TrialLine } from '../../src/cli/trial-lines.js';
import { TestNode } from '../support/node.js';
import { endTalkers } from '../support/talk.js';
import { startTraffic } from '../support/traffic.js';
import { until, weft } from '../support/weft.js';

const entry = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));

function policy(
  name: string,
  pod: string,
  direction: 'Ingress' | 'Egress',
  peers: readonly string[],
): unknown {
  const names = peers.map((peer) => ({ podSelector: { matchLabels: { name: peer } } }));
  const rule = direction === 'Ingress' ? { from: names } : { to: names };
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { namespace: 'test', name },
    spec: {
      podSelector: { matchLabels: { name: pod } },
      policyTypes: [direction],
      [direction.toLowerCase()]: peers.length === 0 ? [] : [rule],
    },
  };
}
const service = {
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { namespace: 'test', name: 'web' },
  spec: {
    clusterIP: '10.96.0.10',
    clusterIPs: ['10.96.0.10'],
    selector: { name: 'server' },
    ports: [{ name: 'tcp', port: 8080, targetPort: 80 }],
  },
};
const enforced = [policy('only-good', 'server', 'Ingress', ['good']), service];
/** In place of the one that is enforced, and one more. */
const tried = [policy('only-good', 'server', 'Ingress', ['bad']), policy('quiet', 'server', 'Egress', [])];

/** The command, as a user runs it with `-o json`. */
class Trial {
  readonly child: ChildProcess;
  readonly lines: TrialLine[] = [];
  stderr = '';
  #rest = '';

  constructor(node: TestNode, ...args: readonly string[]) {
    const command = [entry, 'policy', 'try', '-o', 'json', '--run-dir', node.run, ...args];
    this.child = spawn(process.execPath, command, { stdio: ['ignore', 'pipe', 'pipe'] });
    this.child.stdout!.on('data', (chunk: Buffer) => {
      const parts = (this.#rest + chunk.toString()).split('\n');
      this.#rest = parts.pop()!;
      this.lines.push(...parts.map((line) => JSON.parse(line) as TrialLine));
    });
    this.child.stderr!.on('data', (chunk: Buffer) => {
      this.stderr += chunk.toString();
    });
    trials.add(this);
  }

  get rows(): readonly TrialRow[] {
    return [...new Map(this.lines.flatMap(({ rows }) => rows.map((row) => [row.id, row] as const))).values()];
  }
  get totals(): TrialTotals | undefined {
    return this.lines.at(-1)?.totals;
  }
  /** `good>server TCP 80`, with `!` before those that would be denied. */
  get found(): readonly string[] {
    const name = ({ name }: { readonly name: string }) => name.replace('test/', '');
    return this.rows
      .map(
        (row) =>
          `${row.change === 'denied' ? '!' : ''}${name(row.source)}>${name(row.destination)}` +
          `${row.service === undefined ? '' : ` by ${row.service}`} ${row.protocol} ${row.port}`,
      )
      .sort();
  }
  async end(signal?: NodeJS.Signals): Promise<number | null> {
    trials.delete(this);
    if (this.child.exitCode !== null || this.child.signalCode !== null) return this.child.exitCode;
    const exit = once(this.child, 'close');
    if (signal !== undefined) this.child.kill(signal);
    await exit;
    return this.child.exitCode;
  }
}
const trials = new Set<Trial>();

describe('a trial of policies', () => {
  let node: TestNode;
  let file: string;
  before(async () => {
    node = await TestNode.start();
    await node.addPods({
      server: { ports: ['80/TCP', '53/UDP', '99/SCTP'] },
      good: { ports: ['81/TCP'] },
      bad: {},
    });
    file = join(node.folder, 'tried.json');
    writeFileSync(file, JSON.stringify({ apiVersion: 'v1', kind: 'List', items: tried }));
  });
  afterEach(async () => {
    await endTalkers();
    for (const trial of [...trials]) await trial.end('SIGKILL');
    await node.apply([]);
  });
  after(() => node?.end());

  const trialInSwitch = async () => (await node.query('status')).trial;
  const running = () =>
    until('the switch judges by both images', 10, async () => (await trialInSwitch()) !== 0);
  const over = () =>
    until('the switch has forgotten the trial', 10, async () => (await trialInSwitch()) === 0);

  test('new flows of every protocol, both directions, a Service and a stream from before: named, and not touched', async () => {
    await node.apply(enforced);
    const around = await startTraffic(node);
    const trial = new Trial(node, '-f', file, '--for', '1m');
    await running();
    const { v4, v6 } = node.pod('server');
    const asked = [
      ['good', v4, 80, 'TCP', 'answered'],
      ['good', v6, 80, 'TCP', 'answered'],
      ['good', v4, 53, 'UDP', 'answered'],
      ['good', v4, 99, 'SCTP', 'answered'],
      ['good', '10.96.0.10', 8080, 'TCP', 'answered'],
      ['bad', v4, 99, 'SCTP', 'timeout'],
      ['bad', '10.96.0.10', 8080, 'TCP', 'timeout'],
      ['server', node.pod('good').v4, 81, 'TCP', 'answered'],
      ['bad', node.pod('good').v4, 81, 'TCP', 'answered'],
    ] as const;
    for (const [from, to, port, protocol, outcome] of asked)
      assert.equal(
        (await node.probe(from, to, port, protocol)).outcome,
        outcome,
        `${from} ${to}:${port}/${protocol}`,
      );
    await around.goesOn();
    const wanted = [
      '!good>server SCTP 99',
      '!good>server TCP 5006',
      '!good>server TCP 80',
      '!good>server UDP 53',
      '!good>server by test/web TCP 80',
      '!server>good TCP 81',
      'bad>server SCTP 99',
      // Knocks come by TCP and UDP each.
      'bad>server TCP 53',
      'bad>server TCP 80',
      'bad>server UDP 53',
      'bad>server UDP 80',
      'bad>server by test/web TCP 80',
    ];
    await until('it finds them all', 5, () => trial.found.length >= wanted.length);
    assert.deepEqual(trial.found, [...wanted].sort());
    const row = (change: string, source: string, port: number) =>
      trial.rows.find(
        (one) =>
          one.change === change &&
          one.source.name === `test/${source}` &&
          one.port === port &&
          one.service === undefined,
      )!;
    const denied = row('denied', 'good', 80);
    assert.equal(denied.flows, 2, 'one of each family');
    assert.deepEqual(denied.then, {
      verdict: 'denied',
      reason: 'policy-ingress',
      rules: [],
      isolatedBy: ['test/only-good'],
    });
    assert.deepEqual(denied.now.rules, [{ policy: 'test/only-good', direction: 'ingress', rule: 0 }]);
    assert.equal(row('denied', 'good', 5006).flows, 1, 'a connection is one flow, however long it goes on');
    const quiet = row('denied', 'server', 81);
    assert.deepEqual([quiet.then.reason, quiet.then.isolatedBy], ['policy-egress', ['test/quiet']]);
    const allowed = row('allowed', 'bad', 53);
    assert.deepEqual(allowed.now.isolatedBy, ['test/only-good']);
    assert.deepEqual(allowed.then.rules, [{ policy: 'test/only-good', direction: 'ingress', rule: 0 }]);
    const before = trial.totals!;
    assert.equal(before.unlisted, 0);
    assert.ok(before.judged >= before.denied + before.allowed);
    assert.equal(
      before.denied,
      trial.rows.filter(({ change }) => change === 'denied').reduce((sum, { flows }) => sum + flows, 0),
      'the counters say what the rows say',
    );
    assert.equal(await trial.end('SIGINT'), 1, 'flows would be denied');
    assert.equal(trial.lines.at(-1)?.over?.reason, 'asked');
    await over();
    await around.goesOn();
    await around.finish();
  });

  test('the real policies change under a trial as ever, and a trial never makes them late or other', async () => {
    await node.apply([service]);
    const trial = new Trial(node, '-f', file, '--for', '1m');
    await running();
    assert.equal(await node.outcome('bad', 'server', 80), 'answered');
    await node.apply(enforced);
    assert.equal(await node.outcome('bad', 'server', 80), 'timeout');
    assert.equal(await node.outcome('good', 'server', 80), 'answered');
    await until('what it finds follows both', 5, () => trial.found.includes('bad>server TCP 80'));
    // What is tried becomes what is enforced: nothing would change any more.
    await node.apply([...tried, service]);
    const { judged } = trial.totals!;
    assert.equal(await node.outcome('bad', 'server', 80), 'answered');
    assert.equal(await node.outcome('good', 'server', 53, 'UDP'), 'timeout');
    await until('both flows are judged', 5, () => trial.totals!.judged >= judged + 2);
    assert.ok(!trial.found.includes('!good>server UDP 53'), trial.found.join());
  });

  for (const [what, act, status] of [
    ['Ctrl-C', (trial: Trial) => trial.end('SIGINT'), 1],
    ['a command that is killed', (trial: Trial) => trial.end('SIGKILL'), null],
    ['an agent that is killed', () => node.killAgent(), 2],
    [
      'a switch that is killed',
      async () => {
        const { pid } = await node.query('status');
        process.kill(pid, 'SIGKILL');
        await node.switchUp(pid);
      },
      2,
    ],
  ] as const) {
    test(`${what} ends the trial, and verdicts are the real ones before, while and after`, async () => {
      await node.apply(enforced);
      const around = await startTraffic(node);
      const trial = new Trial(node, '-f', file, '--for', '1m');
      await running();
      await until('it finds the stream', 5, () => trial.found.includes('!good>server TCP 5006'));
      await act(trial);
      assert.equal(await trial.end(), status, trial.stderr);
      if (status === 2) assert.match(trial.stderr, /has gone, and the trial with it|switch has ended/);
      await over();
      await around.goesOn();
      if (what.includes('agent')) await node.startAgent();
      await node.apply(enforced);
      assert.equal(await trialInSwitch(), 0, 'the next desired state brings none back');
      assert.equal(await node.outcome('good', 'server', 80), 'answered');
      assert.equal(await node.outcome('bad', 'server', 80), 'timeout');
      await around.goesOn();
      await around.finish();
    });
  }

  test('leaving a policy out, for as long as asked: the report as people read it', async () => {
    await node.apply(enforced);
    const ended = weft(['policy', 'try', '--delete', 'test/only-good', '--for', '1s', '--run-dir', node.run]);
    assert.equal(ended.status, 0, ended.stderr);
    assert.match(ended.stdout, /0 flows judged by both: 0 would be denied, 0 would be allowed\./);
    const child = new Trial(node, '--delete', 'test/only-good', '--for', '2s');
    await running();
    assert.equal(await node.outcome('bad', 'server', 80), 'timeout');
    assert.equal(await child.end(), 0);
    assert.deepEqual(child.found, ['bad>server TCP 80']);
    assert.deepEqual(child.rows[0]?.then.rules, [], 'not isolated any more');
    const none = weft(['policy', 'try', '--delete', 'test/none', '--run-dir', node.run]);
    assert.equal(none.status, 2);
    assert.match(none.stderr, /There is no policy test\/none/);
    writeFileSync(
      join(node.folder, 'wrong.yaml'),
      'apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: x}\nspec: {podSelectr: {}}\n',
    );
    const wrong = weft(['policy', 'try', '-f', join(node.folder, 'wrong.yaml'), '--run-dir', node.run]);
    assert.equal(wrong.status, 2);
    assert.match(wrong.stderr, /wrong\.yaml:4:8: error: .*podSelectr/);
  });
});
