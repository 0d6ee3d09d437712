/** What the API server would refuse, where it is found, and that whatever is refused narrows. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { decodePolicy } from '../../../src/manifests/decode-policy.js';
import type { KubernetesObject } from '../../../src/manifests/object.js';
import { manifestsOf, parseManifests } from '../../../src/manifests/parse.js';
import { validateObjects } from '../../../src/manifests/validate.js';
import type { NetworkPolicy } from '../../../src/model/policy.js';
import { worlds } from '../../support/worlds.js';

const policy = (spec: string) =>
  `apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec:\n${spec.replace(/^/gm, '  ')}\n`;

function errorsIn(text: string) {
  const { objects, problems } = parseManifests(text, 'x.yaml');
  assert.deepEqual(problems, []);
  return validateObjects(objects);
}

describe('validation of a NetworkPolicy names place, finding and remedy', () => {
  const cases: [text: string, code: string, line: number, path: string, says: RegExp][] = [
    ['policyType: [Egress]', 'unknown-field', 5, 'spec.policyType', /policyTypes/],
    ['epolicyTypes: [Egress]', 'unknown-field', 5, 'spec.epolicyTypes', /policyTypes/],
    ['posSelector: {}', 'unknown-field', 5, 'spec.posSelector', /podSelector/],
    [
      'podSelector:\nmatchLabels: {app: x}',
      'misplaced-field',
      6,
      'spec.matchLabels',
      /spec\.podSelector\.matchLabels/,
    ],
    [
      'ingress:\n- ports: [{port: 80}]\n  podSelector: {}',
      'misplaced-field',
      7,
      'spec.ingress[0].podSelector',
      /from\[0\]\.podSelector/,
    ],
    [
      'ingress:\n- from:\n  - podSelector: {}\n    ports: [{port: 80}]',
      'misplaced-field',
      8,
      'spec.ingress[0].from[0].ports',
      /spec\.ingress\[0\]\.ports/,
    ],
    [
      'ingress:\n- to: [{podSelector: {}}]',
      'misplaced-field',
      6,
      'spec.ingress[0].to',
      /spec\.egress\[0\]\.to/,
    ],
    ['ingress: {from: []}', 'wrong-type', 5, 'spec.ingress', /list/],
    ['podSelector: {matchLabels: {app: 1}}', 'wrong-type', 5, 'spec.podSelector.matchLabels.app', /"1"/],
    [
      'podSelector: {matchLabels: {app: true}}',
      'wrong-type',
      5,
      'spec.podSelector.matchLabels.app',
      /"true"/,
    ],
    [
      'podSelector: {matchLabels: {"a b": x}}',
      'invalid-label',
      5,
      'spec.podSelector.matchLabels["a b"]',
      /label key/,
    ],
    [
      'podSelector: {matchLabels: {app: "-x"}}',
      'invalid-label',
      5,
      'spec.podSelector.matchLabels.app',
      /label value/,
    ],
    [
      'podSelector: {matchExpressions: [{key: a, operator: in, values: [x]}]}',
      'invalid-operator',
      5,
      'spec.podSelector.matchExpressions[0].operator',
      /"in"/,
    ],
    [
      'podSelector: {matchExpressions: [{operator: Exists}]}',
      'missing-field',
      5,
      'spec.podSelector.matchExpressions[0].key',
      /key/,
    ],
    ['policyTypes: [Ingres]', 'invalid-policy-type', 5, 'spec.policyTypes[0]', /Ingress/],
    [
      'ingress: [{from: [{ipBlock: {}}]}]',
      'missing-field',
      5,
      'spec.ingress[0].from[0].ipBlock.cidr',
      /cidr/,
    ],
    [
      'ingress: [{from: [{ipBlock: {cidr: 10.0.0.1}}]}]',
      'invalid-cidr',
      5,
      'spec.ingress[0].from[0].ipBlock.cidr',
      /10\.0\.0\.1\/32/,
    ],
    [
      'ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.0.0.0/8]}}]}]',
      'except-outside-block',
      5,
      'spec.ingress[0].from[0].ipBlock.except[0]',
      /all of/,
    ],
    [
      'ingress: [{from: [{ipBlock: {cidr: "::/0", except: [10.0.0.0/8]}}]}]',
      'except-outside-block',
      5,
      'spec.ingress[0].from[0].ipBlock.except[0]',
      /not inside/,
    ],
    ['ingress: [{ports: [{port: "80"}]}]', 'invalid-port', 5, 'spec.ingress[0].ports[0].port', /quotes/],
    ['ingress: [{ports: [{port: 0}]}]', 'invalid-port', 5, 'spec.ingress[0].ports[0].port', /65535/],
    ['ingress: [{ports: [{port: a--b}]}]', 'invalid-port', 5, 'spec.ingress[0].ports[0].port', /port name/],
    [
      'ingress: [{ports: [{port: 1, endPort: 70000}]}]',
      'invalid-end-port',
      5,
      'spec.ingress[0].ports[0].endPort',
      /65535/,
    ],
    [
      'ingress: [{ports: [{endPort: 70}]}]',
      'invalid-end-port',
      5,
      'spec.ingress[0].ports[0].endPort',
      /port before/,
    ],
    [
      'ingress: [{ports: [{protocol: tcp}]}]',
      'invalid-protocol',
      5,
      'spec.ingress[0].ports[0].protocol',
      /TCP/,
    ],
    ['ingress: [{ports: [{port: 1.5}]}]', 'wrong-type', 5, 'spec.ingress[0].ports[0].port', /whole number/],
  ];
  for (const [spec, code, line, path, says] of cases) {
    test(`${spec.replace(/\n\s*/g, ' ')}: ${code}`, () => {
      const found = errorsIn(policy(spec)).filter((problem) => problem.code === code);
      assert.equal(found.length, 1, JSON.stringify(errorsIn(policy(spec))));
      assert.equal(found[0]?.severity, 'error');
      assert.equal(found[0]?.source?.line, line);
      assert.equal(found[0]?.source?.path, path);
      assert.match(`${found[0]?.message} ${found[0]?.fix}`, says);
    });
  }
});

describe('validation of other objects', () => {
  const cases: [text: string, code: string, severity: string][] = [
    ['metadata: {name: x}', 'missing-kind', 'error'],
    ['kind: networkpolicy\nmetadata: {name: x}', 'unknown-kind', 'error'],
    ['kind: NetworkPolicy\nmetadata: {name: x}', 'missing-api-version', 'error'],
    [
      'apiVersion: extensions/v1beta1\nkind: NetworkPolicy\nmetadata: {name: x}',
      'removed-api-version',
      'error',
    ],
    ['apiVersion: v1\nkind: Namespace\nmetadata: {name: a.b}', 'invalid-name', 'error'],
    [
      'apiVersion: v1\nkind: Service\nmetadata: {name: 1a}\nspec: {ports: [{port: 80}]}',
      'invalid-name',
      'error',
    ],
    [
      'apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: A}\nspec: {containers: [{name: c}]}',
      'invalid-name',
      'error',
    ],
    [
      'apiVersion: v1\nkind: Pod\nmetadata: {generateName: p-}\nspec: {containers: [{name: c}]}',
      'missing-name',
      'error',
    ],
    [
      'apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, ports: [{containerPort: 99999}]}]}',
      'invalid-port',
      'error',
    ],
    [
      'apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, ports: [{containerPort: 80, name: HTTP}]}]}',
      'invalid-port',
      'error',
    ],
    ['apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {conatiners: []}', 'unknown-field', 'warning'],
    [
      'apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {ports: [{port: 80}, {port: 81}]}',
      'missing-field',
      'error',
    ],
    [
      'apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {clusterIP: 10.0.0, ports: [{port: 80}]}',
      'invalid-address',
      'error',
    ],
    [
      'apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec: {template: {spec: {containers: [{name: c}]}}, policyTypes: [Ingress], podSelector: {}}',
      'policy-inside-object',
      'warning',
    ],
    [
      'apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec: {selector: {matchLabels: {app: a}}, template: {metadata: {labels: {app: b}}, spec: {containers: [{name: c}]}}}',
      'selector-template-mismatch',
      'error',
    ],
  ];
  for (const [text, code, severity] of cases) {
    test(`${text.replace(/\n/g, ', ').slice(0, 90)}: ${code}`, () => {
      const found = errorsIn(text).map((problem) => `${problem.code} ${problem.severity}`);
      const wanted = code === 'policy-inside-object' ? `${code} error` : `${code} ${severity}`;
      assert.ok(found.includes(wanted), found.join('; '));
    });
  }
});

/** Whether anything in the policy had to be narrowed. */
function isNarrowed(decoded: NetworkPolicy): boolean {
  return [...(decoded.ingress ?? []), ...(decoded.egress ?? [])].some(
    (rule) =>
      (rule.peers ?? []).some((peer) => peer.kind === 'nothing') ||
      (rule.ports ?? []).some((port) => port.kind === 'nothing'),
  );
}

test('whatever decoding narrows, validation has an error for (seed 11)', () => {
  let narrowed = 0;
  fc.assert(
    fc.property(worlds, ({ objects }) => {
      for (const object of objects) {
        if (object.kind !== 'NetworkPolicy') continue;
        const decoded = decodePolicy(object as KubernetesObject);
        assert.ok(decoded !== undefined);
        if (!isNarrowed(decoded)) continue;
        narrowed++;
        const { objects: parsed } = manifestsOf([object], { file: 'x' });
        assert.ok(
          validateObjects(parsed).some((problem) => problem.severity === 'error'),
          JSON.stringify(object),
        );
      }
    }),
    { seed: 11, numRuns: 300 },
  );
  assert.ok(narrowed > 50, `${narrowed}`);
});
