/** What a user sees of a running lab: status, ports, connections, flows with their rules, drops, captures that tcpdump reads. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { PortRow, StatusAnswer } from '../../src/agent/protocol/answers.js';
import type { FlowRecord } from '../../src/agent/protocol/events.js';
import { findLabs } from '../../src/lab/launch.js';
import { readPcapng } from '../support/pcapng.js';
import { startWeft, until, weft } from '../support/weft.js';

const name = `observe-${process.pid}`;
const at = `--lab=${name}`;
const ask = (...args: string[]) => {
  const run = weft([...args, at]);
  assert.equal(run.status, 0, `weft ${args.join(' ')}: ${run.stderr}`);
  return run.stdout;
};
const probe = () => weft(['lab', 'probe', '--name', name, '--services']);

describe('observing a lab', () => {
  const folder = mkdtempSync(join(tmpdir(), 'weft-observe-'));
  before(() => {
    const run = weft(['lab', 'up', '--example', 'three-tier', '--name', name]);
    assert.equal(run.status, 0, run.stderr);
    assert.equal(probe().status, 0);
  });
  after(() => {
    weft(['lab', 'down', '--name', name]);
    rmSync(folder, { recursive: true, force: true });
    assert.ok(!findLabs().some((lab) => lab.name === name));
  });

  test('status: ready, every pod enforced, nothing refused', () => {
    const status = JSON.parse(ask('status', '-o', 'json')) as Omit<StatusAnswer, 'type' | 'id'>;
    assert.equal(status.ready, true);
    assert.equal(status.revision, status.acknowledged);
    assert.deepEqual(status.problems, []);
    assert.equal(status.counts.localPods, status.counts.ports);
    assert.equal(status.switch?.ports.live, status.counts.ports + 1, 'the pods and the node');
  });

  test('ports: all live, with counters of what the probes sent', () => {
    const ports = JSON.parse(ask('ports', '-o', 'json')) as PortRow[];
    for (const port of ports) assert.equal(port.status, 'live', port.name);
    const web = ports.find((port) => port.name.startsWith('web'));
    assert.ok((web?.received?.packets ?? 0) > 10);
    assert.ok(ports.some((port) => (port.drops?.['policy-ingress'] ?? 0) > 0));
  });

  test('flows name the policy and rule that allowed, and the policies that isolate where denied', () => {
    const flows = ask('flows', '-o', 'json')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as FlowRecord);
    const find = (from: string, to: string, port: number) =>
      flows.find(
        (flow) =>
          flow.source.name.includes(from) &&
          flow.destination.name.includes(to) &&
          flow.destination.port === port,
      );
    const allowed = find('backend', 'db', 5432);
    assert.deepEqual(
      [allowed?.verdict, allowed?.rules.map(({ policy, direction }) => `${direction} ${policy}`)],
      ['allowed', ['ingress default/db-access-ingress']],
    );
    const denied = find('web', 'db', 5432);
    assert.deepEqual([denied?.verdict, denied?.reason], ['denied', 'policy-ingress']);
    assert.deepEqual([...(denied?.isolatedBy ?? [])].sort(), [
      'default/db-access-ingress',
      'default/default-deny-ingress',
    ]);
    const service = flows.find((flow) => flow.destination.kind === 'service');
    assert.equal(service?.translated?.kind, 'pod', 'a Service shows where it led to');
  });

  test('drops are the denials and nothing that passed; conntrack has what passed', () => {
    const drops = ask('drops').trim().split('\n');
    assert.ok(drops.some((line) => line.includes('policy-ingress')));
    assert.ok(!drops.some((line) => line.includes('ALLOWED')));
    assert.match(ask('conntrack'), /^TCP .* default\/backend:\d+ +default\/db:5432/m);
  });

  test('doctor finds agent and switch well; a sysdump has the image that the switch enforces', () => {
    const findings = JSON.parse(weft(['doctor', '--json', at]).stdout) as { check: string; level: string }[];
    // All of them: what the host of a lab has is not the lab's.
    const bad = findings.filter(({ level }) => level !== 'ok');
    assert.deepEqual(bad, []);
    assert.ok(findings.some(({ check }) => check === 'switch'));
    const file = join(folder, 'dump.tar.gz');
    ask('sysdump', '-w', file);
    const read = (entry: string) => {
      const all = spawnSync('tar', ['-xzOf', file, '--wildcards', `*/${entry}`], { encoding: 'utf8' });
      assert.equal(all.status, 0, all.stderr);
      return all.stdout;
    };
    const image = JSON.parse(read('image.json')) as { policies: string[]; sections: Record<string, number> };
    assert.ok(image.policies.includes('default/default-deny-ingress'), String(image.policies));
    assert.ok((image.sections.programs ?? 0) > 0);
    assert.match(read('drops.jsonl'), /policy-ingress/);
    assert.match(read('run/leases.jsonl'), /default/);
  });

  test('a capture holds the packets of a pod with verdicts, and tcpdump reads it', async () => {
    const file = join(folder, 'db.pcapng');
    const capture = startWeft(['capture', 'default/db', '-w', file, at]);
    const commentsSoFar = (): readonly string[] => {
      try {
        return readPcapng(readFileSync(file)).packets.map(({ comment }) => comment);
      } catch {
        return []; // Not opened yet, or its last block is being written.
      }
    };
    await until('the capture has packets that passed and packets that were denied', 30, () => {
      probe();
      const comments = commentsSoFar();
      return (
        comments.some((text) => text.includes('db-access-ingress[0]')) &&
        comments.some((text) => text.startsWith('denied'))
      );
    });
    const ended = new Promise<number | null>((resolve) => capture.once('exit', (status) => resolve(status)));
    capture.kill('SIGINT');
    assert.equal(await ended, 0);
    const { packets } = readPcapng(readFileSync(file));
    const comments = packets.map(({ comment }) => comment);
    assert.ok(
      comments.some((comment) => comment.includes('default/db-access-ingress[0]')),
      comments.join('\n'),
    );
    assert.ok(comments.includes('denied: policy-ingress'), comments.join('\n'));
    const tcpdump = spawnSync('tcpdump', ['-nn', '-r', file], { encoding: 'utf8' });
    if (tcpdump.error === undefined) assert.match(tcpdump.stdout, /\.5432: Flags \[S\]/);
  });
});
