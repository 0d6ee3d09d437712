/** Each check of lint: what it finds, where, and what it leaves alone. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { lint } from '../../../src/cli/lint/lint.js';
import { printGithub, printText } from '../../../src/cli/lint/print.js';
import { readManifests } from '../../../src/manifests/read.js';
import { repositoryRoot } from '../../support/repository.js';

const read = (text: string) => readManifests(['-'], () => text);
const codes = (text: string) => lint(read(text)).map((finding) => `${finding.code}:${finding.line}`);

const pod = (name: string, labels: string, ports = '[{containerPort: 80, name: http}]', namespace = 'a') =>
  `apiVersion: v1\nkind: Pod\nmetadata: {name: ${name}, namespace: ${namespace}, labels: ${labels}}\nspec: {containers: [{name: c, ports: ${ports}}]}\n---\n`;
const policy = (spec: string, name = 'p') =>
  `apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: ${name}, namespace: a}\nspec:\n${spec.replace(/^/gm, '  ')}\n---\n`;
const web = pod('web', '{app: web}');
const dns = '- ports: [{protocol: UDP, port: 53}]';

describe('lint', () => {
  const found: [name: string, text: string, code: string][] = [
    ['egress rules without policyTypes', policy(`egress:\n${dns}`), 'policy-types-missing:5'],
    [
      'ingress rules that policyTypes leaves out',
      policy(`policyTypes: [Egress]\ningress: [{}]\negress:\n${dns}`),
      'rules-ignored:6',
    ],
    [
      'egress rules that policyTypes leaves out',
      policy(`policyTypes: [Ingress]\negress:\n${dns}`),
      'rules-ignored:6',
    ],
    [
      'egress isolation that allows no DNS',
      policy('policyTypes: [Egress]\negress: [{ports: [{port: 443}]}]'),
      'egress-without-dns:6',
    ],
    ['a default deny of egress alone', policy('policyTypes: [Egress]'), 'egress-without-dns:5'],
    [
      'egress only to pods of the own namespace',
      policy('policyTypes: [Egress]\negress: [{to: [{podSelector: {}}]}]'),
      'egress-without-dns:6',
    ],
    [
      'port 53 opened inbound',
      web + policy('ingress: [{ports: [{port: 53, protocol: UDP}]}]'),
      'dns-inbound:10',
    ],
    [
      'a policy that selects no pod',
      web + policy('podSelector: {matchLabels: {app: wbe}}'),
      'selects-nothing:10',
    ],
    [
      'a peer that matches no pod',
      web + policy('ingress: [{from: [{podSelector: {matchLabels: {app: x}}}]}]'),
      'matches-nothing:10',
    ],
    [
      'a namespace label no namespace has',
      `apiVersion: v1\nkind: Namespace\nmetadata: {name: b}\n---\n${policy('ingress: [{from: [{namespaceSelector: {matchLabels: {name: b}}}]}]')}`,
      'no-such-namespace:9',
    ],
    [
      'a port that no selected pod serves',
      web + policy('ingress: [{ports: [{port: 8080}]}]'),
      'port-not-served:10',
    ],
    [
      'a port name that no selected pod has',
      web + policy('ingress: [{ports: [{port: https}]}]'),
      'port-not-served:10',
    ],
    [
      'a protocol that no selected pod serves',
      web + policy('ingress: [{ports: [{protocol: SCTP}]}]'),
      'port-not-served:10',
    ],
    [
      'an egress port that no destination serves',
      web +
        policy(
          'policyTypes: [Egress]\negress:\n- to: [{podSelector: {}}]\n  ports: [{port: 81}]\n- ports: [{port: 53, protocol: UDP}]',
        ),
      'port-not-served:13',
    ],
    [
      'a rule that an earlier one covers',
      policy('ingress: [{from: [{podSelector: {}}]}, {from: [{podSelector: {matchLabels: {app: x}}}]}]'),
      'rule-covered:5',
    ],
    [
      'a rule that another policy covers',
      policy('ingress: [{}]') +
        policy('podSelector: {matchLabels: {app: x}}\ningress: [{ports: [{port: 80}]}]', 'q'),
      'rule-covered:12',
    ],
    [
      'a smaller block beside a larger one',
      policy('ingress: [{from: [{ipBlock: {cidr: 10.1.0.0/16}}]}, {from: [{ipBlock: {cidr: 10.0.0.0/8}}]}]'),
      'rule-covered:5',
    ],
    [
      'a policy of Cilium',
      'apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: c}\n',
      'not-enforced:2',
    ],
    [
      'a policy of Calico with the same kind',
      'apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {name: c}\n',
      'not-enforced:2',
    ],
    ['an object given twice', policy('{}') + policy('{}'), 'repeated-object:9'],
    ['a bare word that kubectl reads as a boolean', pod('web', '{app: on}'), 'yaml-boolean:3'],
    [
      'a NetworkPolicy inside a Deployment',
      'apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec:\n  template: {spec: {containers: [{name: c}]}}\n  podSelector: {}\n  ingress: []\n',
      'policy-inside-object:6',
    ],
    [
      'a whole NetworkPolicy inside a Deployment',
      'apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec:\n  template: {spec: {containers: [{name: c}]}}\n  apiVersion: networking.k8s.io/v1\n  kind: NetworkPolicy\n',
      'policy-inside-object:6',
    ],
    [
      'a removed API group',
      'apiVersion: extensions/v1beta1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec: {podSelector: {}}\n',
      'removed-api-version:1',
    ],
    ['a missing ---', policy('{}').replace('---\n', '') + policy('{}'), 'missing-separator:6'],
  ];
  for (const [name, text, code] of found) {
    test(`finds ${name}`, () => {
      assert.ok(codes(text).includes(code), codes(text).join(' '));
    });
  }

  const clean: [name: string, text: string][] = [
    ['a default deny of ingress', web + policy('podSelector: {}\npolicyTypes: [Ingress]')],
    [
      'a default deny beside a policy that allows DNS',
      web + policy('policyTypes: [Egress]') + policy(`policyTypes: [Egress]\negress:\n${dns}`, 'q'),
    ],
    [
      'DNS allowed as everything in kube-system',
      policy(
        'policyTypes: [Egress]\negress: [{to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}}]}]',
      ),
    ],
    [
      'a port of a pod that declares none',
      pod('web', '{app: web}', '[]') + policy('ingress: [{ports: [{port: 8080}]}]'),
    ],
    [
      'a peer in a namespace whose pods are not given',
      `apiVersion: v1\nkind: Namespace\nmetadata: {name: b, labels: {team: b}}\n---\n${web}${policy('ingress: [{from: [{namespaceSelector: {matchLabels: {team: b}}, podSelector: {matchLabels: {x: z}}}]}]')}`,
    ],
    [
      'kube-system, which every cluster has',
      `apiVersion: v1\nkind: Namespace\nmetadata: {name: b}\n---\n${policy('ingress: [{from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}}]}]')}`,
    ],
    [
      'port 53 of pods that serve DNS',
      pod('dns', '{app: dns}', '[{containerPort: 53, protocol: UDP}]') +
        policy('ingress: [{ports: [{port: 53, protocol: UDP}]}]'),
    ],
    [
      'two rules that overlap and neither covers the other',
      policy('ingress: [{from: [{podSelector: {}}], ports: [{port: 80}]}, {ports: [{port: 81}]}]'),
    ],
    [
      'a hole that another block fills',
      policy(
        'ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}]}, {from: [{ipBlock: {cidr: 10.1.0.0/24}}]}]',
      ),
    ],
    ['a quoted word', pod('web', '{app: "on"}')],
    ['expected verdicts beside the policies', 'tests: [{from: a/b, to: a/c, expect: allow}]\n'],
  ];
  for (const [name, text] of clean) {
    test(`has nothing to say about ${name}`, () => {
      assert.deepEqual(codes(text), []);
    });
  }

  test('explains that a rule names the port of the Service instead of the container’s', () => {
    const service =
      'apiVersion: v1\nkind: Service\nmetadata: {name: s, namespace: a}\nspec: {selector: {app: web}, ports: [{port: 8080, targetPort: 80}]}\n---\n';
    const [finding] = lint(read(web + service + policy('ingress: [{ports: [{port: 8080}]}]')));
    assert.match(finding?.fix ?? '', /port of Service a\/s.*container port, 80/);
  });

  test('hints at a namespaceSelector where the labels live in another namespace', () => {
    const [finding] = lint(
      read(
        web +
          pod('api', '{app: api}', '[]', 'b') +
          policy('ingress: [{from: [{podSelector: {matchLabels: {app: api}}}]}]'),
      ),
    );
    assert.match(`${finding?.message} ${finding?.fix}`, /Pods in b do.*namespaceSelector/);
  });

  test('gives every finding all of its fields, once, in the order of the text', () => {
    const findings = lint(
      read(policy('policyType: []\ningress: [{from: [{}]}]') + policy('posSelector: {}', 'q')),
    );
    assert.ok(findings.length >= 3);
    const lines = findings.map((finding) => finding.line);
    assert.deepEqual(
      lines,
      [...lines].sort((a, b) => a - b),
    );
    for (const finding of findings) {
      assert.deepEqual(Object.keys(finding), [
        'file',
        'line',
        'column',
        'severity',
        'code',
        'path',
        'message',
        'fix',
      ]);
    }
    assert.equal(new Set(findings.map((finding) => JSON.stringify(finding))).size, findings.length);
  });

  test('prints a caret under the place, and annotations that GitHub can read', () => {
    const manifests = read(policy('posSelector: {}'));
    const findings = lint(manifests);
    assert.match(printText(findings, manifests.texts, 1), /5 \| {3}posSelector: \{\}\n {4}\| {3}\^{11}\n/);
    assert.match(
      printGithub(findings),
      /^::error file=<stdin>,line=5,col=3,title=unknown-field::"posSelector" is no field of spec; "podSelector" is\.%0AWrite podSelector instead of posSelector\.\n$/,
    );
    const tricky = printGithub([{ ...findings[0]!, file: 'a,b:c%.yaml', message: 'x\ny' }]);
    assert.match(tricky, /file=a%2Cb%3Ac%25\.yaml,/);
  });
});

test('every check of meaning is in the documentation', () => {
  const folder = join(repositoryRoot, 'src', 'cli', 'lint');
  const documentation = readFileSync(join(repositoryRoot, 'src', 'cli', 'policy', 'README.md'), 'utf8');
  const sources = readdirSync(folder).map((name) => readFileSync(join(folder, name), 'utf8'));
  const codes = sources.flatMap((text) => [...text.matchAll(/code: '([a-z-]+)'/g)].map(([, code]) => code!));
  assert.ok(codes.length >= 10);
  for (const code of codes) assert.ok(documentation.includes(`\`${code}\``), code);
});
