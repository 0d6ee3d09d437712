/** What the API server would refuse of the fields that choose among endpoints, with file, line and column; and what it takes is taken. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseManifests } from '../../../src/manifests/parse.js';
import { validateObjects } from '../../../src/manifests/validate.js';

const service = (spec: string) =>
  `apiVersion: v1
kind: Service
metadata: {name: s}
spec:
  ports: [{port: 80}]
${spec.replace(/^/gm, '  ')}
`;
const slice = (rest: string) =>
  `apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: s}
addressType: IPv4
${rest}
`;

function problemsIn(text: string) {
  const { objects, problems } = parseManifests(text, 'x.yaml');
  assert.deepEqual(problems, []);
  return validateObjects(objects);
}

/** Text, code, line:column, path, what message and remedy say. */
const wrong: readonly (readonly [text: string, code: string, at: string, path: string, says: RegExp])[] = [
  [
    service('trafficDistribution: PreferNear'),
    'invalid-value',
    '6:24',
    'spec.trafficDistribution',
    /PreferSameZone, PreferSameNode or PreferClose.*"PreferNear"/,
  ],
  [
    service('trafficDistribution: preferclose'),
    'invalid-value',
    '6:24',
    'spec.trafficDistribution',
    /Write PreferClose/,
  ],
  [service('trafficDistribution: [PreferClose]'), 'wrong-type', '6:24', 'spec.trafficDistribution', /text/],
  [
    service('internalTrafficPolicy: local'),
    'invalid-value',
    '6:26',
    'spec.internalTrafficPolicy',
    /Cluster or Local.*Write Local/,
  ],
  [
    service('type: NodePort\nexternalTrafficPolicy: Locale'),
    'invalid-value',
    '7:26',
    'spec.externalTrafficPolicy',
    /Cluster or Local/,
  ],
  [
    service('externalTrafficPolicy: Local'),
    'invalid-value',
    '6:3',
    'spec.externalTrafficPolicy',
    /NodePort, LoadBalancer and externalIPs only/,
  ],
  [service('sessionAffinity: ClientIp'), 'invalid-value', '6:20', 'spec.sessionAffinity', /Write ClientIP/],
  [
    service('sessionAffinity: ClientIP\nsessionAffinityConfig: {clientIP: {timeoutSeconds: 0}}'),
    'invalid-value',
    '7:54',
    'spec.sessionAffinityConfig.clientIP.timeoutSeconds',
    /1 to 86400/,
  ],
  [
    service('sessionAffinity: ClientIP\nsessionAffinityConfig: {clientIP: {timeoutSeconds: 86401}}'),
    'invalid-value',
    '7:54',
    'spec.sessionAffinityConfig.clientIP.timeoutSeconds',
    /10800/,
  ],
  [
    service('sessionAffinity: ClientIP\nsessionAffinityConfig: {timeoutSeconds: 60}'),
    'misplaced-field',
    '7:27',
    'spec.sessionAffinityConfig.timeoutSeconds',
    /clientIP\.timeoutSeconds/,
  ],
  [
    service('sessionAffinityConfig: {clientIP: {timeoutSeconds: 60}}'),
    'invalid-value',
    '6:3',
    'spec.sessionAffinityConfig',
    /sessionAffinity: ClientIP only/,
  ],
  [
    service('type: LoadBalancer\nloadBalancerSourceRanges:\n- 10.0.0.0/8\n- 10.0.0/8'),
    'invalid-cidr',
    '9:5',
    'spec.loadBalancerSourceRanges[1]',
    /nobody is admitted/,
  ],
  [
    service('type: LoadBalancer\nloadBalancerSourceRanges: 10.0.0.0/8'),
    'wrong-type',
    '7:29',
    'spec.loadBalancerSourceRanges',
    /list/,
  ],
  [
    service('loadBalancerSourceRanges: [10.0.0.0/8]'),
    'invalid-value',
    '6:3',
    'spec.loadBalancerSourceRanges',
    /LoadBalancer only/,
  ],
  [
    service('type: LoadBalancer\nexternalTrafficPolicy: Local\nhealthCheckNodePort: 70000'),
    'invalid-port',
    '8:24',
    'spec.healthCheckNodePort',
    /1 to 65535/,
  ],
  [
    service('type: LoadBalancer\nhealthCheckNodePort: 30000'),
    'invalid-value',
    '7:3',
    'spec.healthCheckNodePort',
    /externalTrafficPolicy: Local only/,
  ],
  [service('healthCheckNodePort: "30000"'), 'wrong-type', '6:24', 'spec.healthCheckNodePort', /whole number/],
  [service('ipFamilies: [IPv4, ipv6]'), 'invalid-value', '6:22', 'spec.ipFamilies[1]', /IPv4 or IPv6/],
  [service('ipFamilies: [IPv4, IPv4]'), 'repeated-value', '6:22', 'spec.ipFamilies[1]', /twice/],
  [service('ipFamilyPolicy: DualStack'), 'invalid-value', '6:19', 'spec.ipFamilyPolicy', /SingleStack/],
  [
    'apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {type: NodePort, ports: [{port: 80, nodePort: 99999}]}',
    'invalid-port',
    '4:53',
    'spec.ports[0].nodePort',
    /nodePort/,
  ],
  [
    slice('endpoints:\n- addresses: [10.0.0.1]\n  conditions: {ready: "true"}'),
    'wrong-type',
    '7:23',
    'endpoints[0].conditions.ready',
    /true or false/,
  ],
  [
    slice('endpoints:\n- addresses: [10.0.0.1]\n  conditions: {redy: true}'),
    'unknown-field',
    '7:16',
    'endpoints[0].conditions.redy',
    /ready/,
  ],
  [
    slice('endpoints:\n- addresses: [10.0.0.1]\n  hints: {forZones: [a]}'),
    'wrong-type',
    '7:22',
    'endpoints[0].hints.forZones[0]',
    /mapping/,
  ],
  [
    slice('endpoints:\n- addresses: [10.0.0.1]\n  hints: {forNodes: [{name: ""}]}'),
    'missing-field',
    '7:29',
    'endpoints[0].hints.forNodes[0].name',
    /names nothing/,
  ],
  [
    slice('endpoints:\n- addresses: [fd00::1]'),
    'invalid-address',
    '6:15',
    'endpoints[0].addresses[0]',
    /an IPv4 address/,
  ],
  [slice('endpoints:\n- addresses: []'), 'missing-field', '6:14', 'endpoints[0].addresses', /no address/],
  [slice('endpoints: []\nports: [{port: 0}]'), 'invalid-port', '6:16', 'ports[0].port', /1 to 65535/],
  [
    slice('endpoints: []\nports: [{port: 80, protocol: tcp}]'),
    'invalid-protocol',
    '6:30',
    'ports[0].protocol',
    /TCP, UDP or SCTP/,
  ],
];
/** A newer server may know them. */
const unknown = new Set(['unknown-field', 'misplaced-field']);
for (const [text, code, at, path, says] of wrong)
  test(`${path} is told at ${at}: ${text.trim().split('\n').at(-1)?.trim()}`, () => {
    const problems = problemsIn(text);
    assert.deepEqual(
      problems.map(({ code, severity, source }) => [
        code,
        severity,
        source?.file,
        `${source?.line}:${source?.column}`,
        source?.path,
      ]),
      [[code, unknown.has(code) ? 'warning' : 'error', 'x.yaml', at, path]],
    );
    assert.match(`${problems[0]?.message} ${problems[0]?.fix}`, says);
  });

const right: readonly string[] = [
  service(
    'type: LoadBalancer\nexternalTrafficPolicy: Local\ninternalTrafficPolicy: Local\nhealthCheckNodePort: 30000\nloadBalancerSourceRanges: [" 10.0.0.0/8 ", "fd00::/8"]\n' +
      'sessionAffinity: ClientIP\nsessionAffinityConfig: {clientIP: {timeoutSeconds: 86400}}\nipFamilies: [IPv6, IPv4]\nipFamilyPolicy: PreferDualStack\ntrafficDistribution: PreferSameNode\nallocateLoadBalancerNodePorts: false',
  ),
  service('externalIPs: [192.0.2.1]\nexternalTrafficPolicy: Local\ntrafficDistribution: PreferClose'),
  service('sessionAffinity: None\nsessionAffinityConfig: null\nipFamilies: null\nhealthCheckNodePort: 0'),
  slice(
    'endpoints:\n- addresses: [10.0.0.1]\n  conditions: {ready: null, serving: true, terminating: false}\n  hints: {forZones: [{name: a}], forNodes: [{name: n}]}\n  nodeName: n\n  zone: a\n  hostname: h\n' +
      '  targetRef: {kind: Pod, name: p}\n  deprecatedTopology: {a: b}\nports: [{name: "", port: null, protocol: TCP, appProtocol: http}]',
  ),
];
test('what the API server takes is taken', () => {
  for (const text of right) assert.deepEqual(problemsIn(text), [], text);
});
