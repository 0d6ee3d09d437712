/** Every conformance case through every engine, over both address families where the ends have them. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { answerWorld } from '../../src/cli/policy/batch.js';
import { engineNamed, engineNames } from '../../src/cli/policy/engines.js';
import { checkpoints, conformanceCases } from '../support/conformance.js';

const cases = conformanceCases();

test('there are as many cases as the suites have', () => {
  assert.equal(cases.length, 76);
});

for (const engine of engineNames) {
  describe(`the ${engine} engine`, () => {
    for (const one of cases) {
      test(`${one.id}: ${one.title}`, () => {
        let checked = 0;
        for (const { step, objects, expectations } of checkpoints(one)) {
          for (const family of [undefined, 4, 6] as const) {
            const queries = expectations.map(({ from, to, port, protocol }) => ({
              from,
              to,
              port,
              protocol,
              ...(family === undefined ? {} : { family }),
            }));
            const answers = answerWorld(
              { objects, queries, options: { ownNodeEgress: 'allow' } },
              engineNamed(engine),
            );
            for (const [index, { from, to, port, protocol, allowed }] of expectations.entries()) {
              const answer = answers[index]!;
              // A case whose blocks or outside hosts are IPv4 says nothing about IPv6.
              if (family === 6 && (answer.allowed === null || namesIPv4(objects))) continue;
              checked++;
              assert.equal(
                answer.allowed,
                allowed,
                `step ${step}, family ${family ?? 'any'}: ${from} -> ${to}:${port}/${protocol}: ${JSON.stringify(answer)}`,
              );
            }
          }
        }
        assert.ok(checked > 0, 'the case expects something');
      });
    }
  });
}

function namesIPv4(objects: readonly Readonly<Record<string, unknown>>[]): boolean {
  return objects.some(
    (object) => object.kind === 'NetworkPolicy' && JSON.stringify(object).includes('"ipBlock"'),
  );
}
