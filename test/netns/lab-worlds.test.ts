/**
 * Generated policy worlds with real packets: every pair of pods, every port, both families, Services, the node and hosts outside,
 * measured in a lab and compared with the reference evaluator. WEFT_PROPERTY_SEED and WEFT_LAB_WORLDS repeat or prolong a run.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import type { Protocol } from '../../src/model/protocol.js';
import { startTestLab, type TestLab } from '../support/lab.js';
import { type GeneratedWorld, worlds } from '../support/worlds.js';

const seed = Number(process.env.WEFT_PROPERTY_SEED ?? 20240601);
const count = Number(process.env.WEFT_LAB_WORLDS ?? 12);
const outside = ['203.0.113.9', '2001:db8::9'];
const numbers = [53, 80, 8080];
const protocols: readonly Protocol[] = ['TCP', 'UDP', 'SCTP'];

type Plain = Record<string, unknown>;
const part = (value: unknown) => (value ?? {}) as Plain;

/**
 * What a lab decides is left to it (nodes, addresses, who is on the host network), and every pod serves every port that anybody
 * may ask it for, so that silence is always policy.
 */
function inLab(world: GeneratedWorld): Plain[] {
  const objects = new Map<string, Plain>();
  for (const object of world.objects) {
    const { namespace, name } = part(object.metadata);
    if (object.kind === 'Node') continue;
    const spec = part(object.spec);
    const key = `${object.kind} ${namespace}/${name}`;
    if (object.kind === 'Pod') {
      const { deletionTimestamp: _, ...metadata } = part(object.metadata);
      const { phase } = part(object.status);
      objects.set(key, {
        ...object,
        metadata,
        spec: { containers: served(spec.containers), initContainers: spec.initContainers },
        status: { phase },
      });
    } else if (object.kind === 'Service') {
      const ports = new Map((spec.ports as Plain[]).map((port) => [`${port.port}/${port.protocol}`, port]));
      const { clusterIP, ...rest } = spec;
      objects.set(key, {
        ...object,
        spec: { ...rest, ports: [...ports.values()], ...(clusterIP === 'None' ? { clusterIP } : {}) },
      });
    } else objects.set(key, object);
  }
  return [...objects.values()];
}

/** The containers as they are, and one that serves what they do not. */
function served(containers: unknown): Plain[] {
  const given = (containers as { ports?: { containerPort: number; protocol?: string }[] }[]).flatMap(
    ({ ports }) => ports ?? [],
  );
  const has = (port: number, protocol: string) =>
    given.some((one) => one.containerPort === port && (one.protocol ?? 'TCP') === protocol);
  const more = numbers.flatMap((containerPort) =>
    protocols
      .filter((protocol) => !has(containerPort, protocol))
      .map((protocol) => ({ containerPort, protocol })),
  );
  return [...(containers as Plain[]), { name: 'more', ports: more }];
}

describe(`generated worlds, measured (seed ${seed})`, () => {
  const labs: Partial<Record<'allow' | 'judge', TestLab>> = {};
  before(async () => {
    for (const ownNodeEgress of ['allow', 'judge'] as const) {
      const lab = await startTestLab({
        podCidrs: ['10.0.0.0/16', 'fd00::/64'],
        config: { policy: { ownNodeEgress } },
      });
      labs[ownNodeEgress] = lab;
      const ports = protocols.flatMap((protocol) => numbers.map((port) => ({ protocol, port })));
      await lab.client.request('externals', { hosts: outside.map((address) => ({ address, ports })) });
    }
  });
  after(async () => {
    for (const lab of Object.values(labs)) await lab.end();
  });

  const seen = { allowed: 0, denied: 0 };
  for (const [index, world] of fc.sample(worlds, { seed, numRuns: count }).entries()) {
    test(`world ${index}: ${world.objects.length} objects`, async () => {
      const lab = labs[world.options.ownNodeEgress]!;
      const objects = inLab(world);
      await lab.replace(objects);
      const everybody = ['*', 'node/lab', ...outside];
      const { cells } = await lab.client.request('probe', {
        selection: { from: everybody, to: ['*'], services: true },
      });
      const wrong = cells.filter(({ agrees }) => !agrees);
      assert.deepEqual(wrong, [], JSON.stringify(objects));
      for (const cell of cells) {
        seen[cell.measured]++;
        if (cell.measured === 'allowed' || cell.denial === undefined) continue;
        assert.equal(cell.denial.told, 'switch', JSON.stringify(cell));
      }
    });
  }

  test('there was much of both', () => {
    assert.ok(seen.allowed > 100 && seen.denied > 100, JSON.stringify(seen));
  });
});
