/**
 * Every conformance case with real packets: pods of a lab, its switch and agent, TCP and UDP handshakes and SCTP's INIT. One lab plays all
 * cases one after the other; each expectation is measured over every address family that both ends have.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { ExternalHost, Question } from '../../src/lab/protocol.js';
import type { Protocol } from '../../src/model/protocol.js';
import { type Checkpoint, checkpoints, conformanceCases, type Expectation } from '../support/conformance.js';
import { startTestLab, type TestLab } from '../support/lab.js';

const cases = conformanceCases();
const isAddress = (end: string) => !end.includes('/');

/** Hosts outside of the cluster, with every port that some case asks of them. */
function externalHosts(): ExternalHost[] {
  const hosts = new Map<string, Map<string, { protocol: Protocol; port: number }>>();
  for (const { expectations } of cases.flatMap(checkpoints)) {
    for (const { from, to, port, protocol } of expectations) {
      for (const end of [from, to]) if (isAddress(end) && !hosts.has(end)) hosts.set(end, new Map());
      hosts.get(to)?.set(`${port}/${protocol}`, { port, protocol: protocol as Protocol });
    }
  }
  return [...hosts].map(([address, ports]) => ({ address, ports: [...ports.values()] }));
}

interface PodLike {
  readonly kind: string;
  readonly metadata: { readonly namespace: string; readonly name: string };
  readonly spec: { containers: { ports: { containerPort: number; protocol: string }[] }[] };
}

/** A denial is only proven where something would have answered: pods serve whatever they are asked for. */
function servingAll({ objects, expectations }: Checkpoint): unknown[] {
  return objects.map((object) => {
    const pod = object as unknown as PodLike;
    if (pod.kind !== 'Pod') return object;
    const container = pod.spec.containers[0]!;
    const ports = [...container.ports];
    for (const { to, port, protocol } of expectations) {
      if (to !== `${pod.metadata.namespace}/${pod.metadata.name}`) continue;
      if (ports.some((one) => one.containerPort === port && one.protocol === protocol)) continue;
      ports.push({ containerPort: port, protocol });
    }
    return { ...object, spec: { ...pod.spec, containers: [{ ...container, ports }] } };
  });
}

/** A case with blocks says nothing about the family that its blocks are not of: they are all IPv4. */
function families({ objects }: Checkpoint): readonly (4 | 6)[] {
  return objects.some(
    (object) => object.kind === 'NetworkPolicy' && JSON.stringify(object).includes('"ipBlock"'),
  )
    ? [4]
    : [4, 6];
}

const questionsOf = (checkpoint: Checkpoint): { expectation: Expectation; question: Question }[] =>
  checkpoint.expectations.flatMap((expectation) =>
    families(checkpoint)
      .filter((family) => family === 4 || !(isAddress(expectation.from) || isAddress(expectation.to)))
      .map((family) => {
        const { from, to, port, protocol } = expectation;
        return { expectation, question: { from, to, port, protocol: protocol as Protocol, family } };
      }),
  );

describe('conformance cases with real packets', () => {
  let lab: TestLab;
  before(async () => {
    lab = await startTestLab({ podCidrs: ['10.244.0.0/16', 'fd00:10:244::/48'] });
    await lab.client.request('externals', { hosts: externalHosts() });
  });
  after(() => lab?.end());

  for (const one of cases) {
    test(`${one.id}: ${one.title}`, async () => {
      let measured = 0;
      for (const checkpoint of checkpoints(one)) {
        await lab.replace(servingAll(checkpoint));
        const asked = questionsOf(checkpoint);
        const { cells } = await lab.client.request('ask', {
          questions: asked.map(({ question }) => question),
        });
        assert.equal(cells.length, asked.length, 'every question has an answer');
        const wrong = asked.flatMap(({ expectation, question }, i) => {
          const cell = cells[i]!;
          measured++;
          const right = (cell.measured === 'allowed') === expectation.allowed;
          // What is let through must reach the right pod.
          const reached =
            cell.measured === 'denied' || isAddress(question.to) || cell.answeredBy === question.to;
          if (right && reached && !cell.observation.startsWith('not measured')) return [];
          return `step ${checkpoint.step}: ${question.from} -> ${question.to}:${question.port}/${question.protocol} IPv${question.family}: expected ${expectation.allowed ? 'allowed' : 'denied'}, ${cell.observation}`;
        });
        assert.deepEqual(wrong, []);
      }
      assert.ok(measured > 0, 'the case measures something');
    });
  }
});
