/** `weft why` of a running node says what its packets meet: every expected verdict of an example, asked and sent. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { WhyAnswer } from '../../src/agent/protocol/answers.js';
import { readSuite } from '../../src/cli/policy/test-file.js';
import { findLabs } from '../../src/lab/launch.js';
import { readManifestFiles } from '../../src/manifests/read.js';
import { repositoryRoot } from '../support/repository.js';
import { weft } from '../support/weft.js';

const name = `why-${process.pid}`;
const at = `--lab=${name}`;
const example = join(repositoryRoot, 'config/examples/three-tier/expected.yaml');

function ask(from: string, to: string): { status: number | null; answer: WhyAnswer } {
  const run = weft(['why', from, to, '--json', at]);
  assert.notEqual(run.stdout, '', run.stderr);
  return { status: run.status, answer: JSON.parse(run.stdout) as WhyAnswer };
}

describe('why, of a running lab', () => {
  before(() => {
    const run = weft(['lab', 'up', '--example', 'three-tier', '--name', name]);
    assert.equal(run.status, 0, run.stderr);
    assert.equal(weft(['lab', 'probe', '--name', name, '--services']).status, 0);
  });
  after(() => {
    weft(['lab', 'down', '--name', name]);
    assert.ok(!findLabs().some((lab) => lab.name === name));
  });

  test('it agrees with every expected verdict of the example, which the probes have just proved', () => {
    const { suite } = readSuite(readManifestFiles([example]).objects[0]!);
    assert.ok(suite.tests.length > 10);
    const wrong = suite.tests.filter(({ from, to, allowed }) => {
      const { status, answer } = ask(from, to);
      return answer.allowed !== allowed || status !== (allowed ? 0 : 1);
    });
    assert.deepEqual(wrong, []);
  });

  test('it names the rule, the policies that isolate, the Service and the events of the probes', () => {
    const denied = ask('web', 'db:5432').answer;
    assert.deepEqual(
      [denied.flows[0]?.reason, denied.flows[0]?.sides[1]?.verdict.isolatedBy, denied.unsettled],
      ['policy-ingress', ['default/db-access-ingress', 'default/default-deny-ingress'], []],
    );
    assert.deepEqual(
      [denied.recent.at(-1)?.verdict, denied.recent.at(-1)?.reason],
      ['denied', 'policy-ingress'],
    );
    const allowed = ask('backend', 'svc/default/database:5432').answer;
    assert.equal(allowed.service?.split(':')[0], 'default/database');
    const { verdict } = allowed.flows[0]!.sides[1]!;
    assert.deepEqual([verdict.policy, verdict.rule], ['default/db-access-ingress', 0]);
    assert.deepEqual(allowed.ports.map(({ end, pod, status }) => `${end} ${pod} ${status}`).sort(), [
      'from default/backend live',
    ]);
    assert.ok(Number(allowed.generation) > 0 && allowed.acknowledged === allowed.revision);
    const text = weft(['why', 'web', 'db:5432', at]).stdout;
    assert.match(text, /^DENIED: default\/web -> default\/db:5432\/TCP\n/);
    assert.match(text, /Latest events of it:\n.*DENIED/);
  });
});
