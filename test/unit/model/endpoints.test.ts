import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  clusterEndpoints,
  type Endpoint,
  hasUsable,
  keptEndpoints,
  localEndpoints,
  resolveEndpoints,
} from '../../../src/model/endpoints.js';
import type { EndpointSlice, Service } from '../../../src/model/service.js';
import { address } from '../../../src/net/address.js';
import { makePod, makeService } from '../../support/policy-world.js';

const web = { app: 'web' };
const pods = [
  makePod('x/b', ['10.0.0.2', 'fd00::2'], web, { ports: ['http:8081'] }),
  makePod('x/a', ['10.0.0.1', 'fd00::1'], web, { ports: ['http:8080', 'http:53/UDP'], nodeName: 'two' }),
  makePod('x/unready', '10.0.0.3', web, { ready: false, ports: ['http:8082'] }),
  makePod('x/leaving', '10.0.0.4', web, { terminating: true, ports: ['http:8082'] }),
  makePod('x/done', '10.0.0.5', web, { phase: 'Succeeded', ports: ['http:8082'] }),
  makePod('x/nameless', '10.0.0.6', web, { ports: ['8080'] }),
  makePod('x/other', '10.0.0.7', { app: 'db' }, { ports: ['http:8080'] }),
  makePod('y/elsewhere', '10.0.0.8', web, { ports: ['http:8080'] }),
  makePod('x/waiting', '', web, { ports: ['http:8080'] }),
];

const slice = (ready: boolean, ...ips: string[]): EndpointSlice => ({
  namespace: 'x',
  name: 's-1',
  service: 's',
  family: 4,
  ports: [{ name: 'http', protocol: 'TCP', port: 9000 }],
  endpoints: ips.map((ip) => ({ addresses: [address(ip)], ready, nodeName: 'one' })),
});

function found(
  service: Service,
  slices: readonly EndpointSlice[] = [],
  node?: string,
): Record<string, string[]> {
  const result: Record<string, string[]> = {};
  for (const { port, family, endpoints } of resolveEndpoints(service, pods, slices)) {
    const usable = node === undefined ? clusterEndpoints(endpoints, {}) : localEndpoints(endpoints, node);
    result[`${port.name}/${port.protocol}/${family}`] = usable.map((to) => `${to.address.text} ${to.port}`);
  }
  return result;
}

const http = { name: 'http', protocol: 'TCP', port: 80, targetPort: 'http' } as const;
const service = (more: Partial<Service> = {}, ips: readonly string[] = ['10.96.0.1']) =>
  makeService('x/s', ips, web, { ports: [http], ...more });

test('backends are the ready pods that the selector means, with the number behind the name', () => {
  assert.deepEqual(found(service()), { 'http/TCP/4': ['10.0.0.1 8080', '10.0.0.2 8081'] });
});

test('each family of a service has the backends of that family', () => {
  assert.deepEqual(found(service({}, ['10.96.0.1', 'fd96::1'])), {
    'http/TCP/4': ['10.0.0.1 8080', '10.0.0.2 8081'],
    'http/TCP/6': ['fd00::1 8080', 'fd00::2 8081'],
  });
});

test('several ports are several lists, a number needs no name', () => {
  const ports = [
    http,
    { name: 'raw', protocol: 'TCP', port: 81, targetPort: 9999 },
    { ...http, name: 'udp', protocol: 'UDP' },
  ] as const;
  assert.deepEqual(found(service({ ports })), {
    'http/TCP/4': ['10.0.0.1 8080', '10.0.0.2 8081'],
    'raw/TCP/4': ['10.0.0.1 9999', '10.0.0.2 9999', '10.0.0.6 9999'],
    'udp/UDP/4': ['10.0.0.1 53'],
  });
});

test('publishNotReadyAddresses takes pods that are not ready or are leaving, but no finished ones', () => {
  assert.deepEqual(found(service({ publishNotReadyAddresses: true }))['http/TCP/4'], [
    '10.0.0.1 8080',
    '10.0.0.2 8081',
    '10.0.0.3 8082',
    '10.0.0.4 8082',
  ]);
});

test('headless and ExternalName services, and those without an address, have none', () => {
  assert.deepEqual(found(service({ headless: true })), {});
  assert.deepEqual(found(service({ type: 'ExternalName' })), {});
  assert.deepEqual(found(service({}, [])), {});
});

test('a service without a selector has no pods', () => {
  assert.deepEqual(found(service({ selector: null })), { 'http/TCP/4': [] });
  assert.deepEqual(found(service({ selector: new Map() })), { 'http/TCP/4': [] });
});

test('slices win over the selector, and their unready endpoints are left out', () => {
  assert.deepEqual(found(service(), [slice(true, '10.9.9.2', '10.9.9.1')]), {
    'http/TCP/4': ['10.9.9.1 9000', '10.9.9.2 9000'],
  });
  assert.deepEqual(found(service(), [slice(false, '10.9.9.1')]), { 'http/TCP/4': [] });
});

test('the endpoints of one node are its own', () => {
  assert.deepEqual(found(service(), [], 'two'), { 'http/TCP/4': ['10.0.0.1 8080'] });
  assert.deepEqual(found(service(), [], 'three'), { 'http/TCP/4': [] });
  assert.deepEqual(found(service(), [], ''), { 'http/TCP/4': [] });
});

test('a family without a cluster address does not exist, whatever external addresses it has', () => {
  const external = service({ externalIPs: [address('2001:db8::1')] });
  assert.deepEqual(Object.keys(found(external)), ['http/TCP/4']);
});

test('pods give their conditions as the EndpointSlice controller would', () => {
  const { endpoints } = resolveEndpoints(service(), pods, [])[0]!;
  assert.deepEqual(
    endpoints.map(({ address: at, ready, serving, terminating }) => [at.text, ready, serving, terminating]),
    [
      ['10.0.0.1', true, true, false],
      ['10.0.0.2', true, true, false],
      ['10.0.0.3', false, false, false],
      ['10.0.0.4', false, true, true],
    ],
  );
});

test('of one address and port that two slices tell, the better condition counts', () => {
  for (const order of [
    [slice(false, '10.9.9.1'), { ...slice(true, '10.9.9.1'), name: 's-2' }],
    [slice(true, '10.9.9.1'), { ...slice(false, '10.9.9.1'), name: 's-2' }],
  ])
    assert.deepEqual(found(service(), order), { 'http/TCP/4': ['10.9.9.1 9000'] });
});

test('of one address and port that two slices tell equally well, the same one counts whichever came first', () => {
  const one = slice(true, '10.9.9.1');
  const hinted = (zone: string, name: string): EndpointSlice => ({
    ...one,
    name,
    endpoints: one.endpoints.map((endpoint) => ({ ...endpoint, forZones: [zone] })),
  });
  const zones = (slices: readonly EndpointSlice[]) =>
    resolveEndpoints(service(), pods, slices).flatMap(({ endpoints }) =>
      endpoints.map(({ forZones }) => forZones),
    );
  const [left, right] = [hinted('east', 's-1'), hinted('west', 's-2')];
  assert.deepEqual([zones([left, right]), zones([right, left])], [[['east']], [['east']]]);
});

test('trafficDistribution of a service without slices hints at the zone and node of each pod', () => {
  const zoneOf = (node: string) => (node === 'one' ? 'east' : undefined);
  const hints = (distribution: 'PreferSameZone' | 'PreferSameNode') =>
    resolveEndpoints(service({ trafficDistribution: distribution }), pods, [], zoneOf)[0]!
      .endpoints.slice(0, 2)
      .map(({ forZones, forNodes }) => [forZones, forNodes]);
  assert.deepEqual(hints('PreferSameZone'), [
    [undefined, undefined],
    [['east'], undefined],
  ]);
  assert.deepEqual(hints('PreferSameNode'), [
    [undefined, ['two']],
    [['east'], ['one']],
  ]);
});

/** `a@n1 r` ready, `s` serving, `t` terminating; `z:` and `n:` hints. All on port 80; a letter is the last byte of an address. */
function told(text: string): Endpoint[] {
  return text
    .split(',')
    .filter((part) => part.trim() !== '')
    .map((part) => {
      const [who = '', flags = '', ...hints] = part.trim().split(' ');
      const [letter = '', nodeName = ''] = who.split('@');
      const named = (kind: string) =>
        hints.filter((hint) => hint.startsWith(kind)).flatMap((hint) => hint.slice(2).split('+'));
      return {
        address: address(`10.0.0.${letter.charCodeAt(0) - 96}`),
        port: 80,
        nodeName,
        ready: flags.includes('r'),
        serving: flags.includes('s'),
        terminating: flags.includes('t'),
        ...(named('z:').length > 0 ? { forZones: named('z:') } : {}),
        ...(named('n:').length > 0 ? { forNodes: named('n:') } : {}),
      };
    });
}
const letters = (endpoints: readonly Endpoint[]) =>
  endpoints.map(({ address: at }) => String.fromCharCode(96 + Number(at.text.split('.')[3]))).join('');

describe('which endpoints new flows go to, from node n1 in zone z1', () => {
  const cases: readonly (readonly [name: string, endpoints: string, cluster: string, local: string])[] = [
    ['none', '', '', ''],
    ['ready ones, and the local ones of those', 'a@n1 rs, b@n2 rs, c@n3 rs', 'abc', 'a'],
    ['not those that are not ready', 'a@n1 s, b@n2 rs, c@n1 -', 'b', ''],
    ['not those that terminate while others are ready', 'a@n1 st, b@n2 rs', 'b', 'a'],
    ['where none is ready, those that serve while they terminate', 'a@n1 st, b@n2 st, c@n2 t', 'ab', 'a'],
    ['the fallback is each policy’s own', 'a@n1 rs, b@n1 st, c@n2 st', 'a', 'a'],
    ['serving without terminating is not enough', 'a@n1 s, b@n2 s', '', ''],
    ['ready although not serving (publishNotReadyAddresses)', 'a@n1 r, b@n2 rt', 'ab', 'a'],
    [
      'the zone’s, where every ready endpoint has a hint',
      'a@n2 rs z:z1, b@n3 rs z:z2, c@n1 rs z:z2',
      'a',
      'c',
    ],
    ['told of two nodes: a node believes what is said of itself', 'a@n2 rs, a@n1 st, b@n3 rs', 'b', 'a'],
    ['told of two other nodes: the better standing', 'a@n2 rs, a@n3 st, b@n2 s', 'a', ''],
    ['several zones in one hint', 'a@n2 rs z:z2+z1, b@n3 rs z:z2', 'a', ''],
    ['all, where one ready endpoint has no hint', 'a@n2 rs z:z1, b@n3 rs', 'ab', ''],
    ['hints of endpoints that are not ready do not matter', 'a@n2 rs z:z1, b@n3 rs z:z2, c@n3 s', 'a', ''],
    ['all, where none is hinted at this zone', 'a@n2 rs z:z3, b@n3 rs z:z2', 'ab', ''],
    ['the zone’s ready ones are gone: all ready ones', 'a@n2 s z:z1, b@n3 rs z:z2', 'b', ''],
    ['hints do not bind terminating ones', 'a@n2 st z:z2, b@n3 st z:z1', 'ab', ''],
    ['the node’s before the zone’s', 'a@n1 rs z:z1 n:n1, b@n2 rs z:z1 n:n2', 'a', 'a'],
    ['the zone’s, where none is hinted at this node', 'a@n3 rs z:z1 n:n3, b@n2 rs z:z2 n:n2', 'a', ''],
    [
      'the zone’s, where one has no hint for nodes',
      'a@n1 rs z:z1 n:n1, b@n2 rs z:z1, c@n3 rs z:z2',
      'ab',
      'a',
    ],
  ];
  for (const [name, text, cluster, local] of cases)
    test(name, () => {
      const endpoints = told(text);
      assert.equal(letters(clusterEndpoints(endpoints, { node: 'n1', zone: 'z1' })), cluster);
      assert.equal(letters(localEndpoints(endpoints, 'n1')), local);
      assert.equal(hasUsable(endpoints), cluster !== '');
    });
  test('a node without a zone ignores zone hints', () => {
    const endpoints = told('a@n2 rs z:z1, b@n3 rs z:z2');
    assert.equal(letters(clusterEndpoints(endpoints, { node: 'n1' })), 'ab');
  });
});

describe('which endpoints flows begun earlier stay with', () => {
  const cases: readonly (readonly [name: string, endpoints: string, udp: string, tcp: string])[] = [
    ['serving ones, ready or not; a connection with any', 'a rs, b s, c st, d t, e -', 'abc', 'abcde'],
    ['none serves: nobody is better', 'a t, b -', 'ab', 'ab'],
  ];
  for (const [name, text, udp, tcp] of cases)
    test(name, () => {
      assert.equal(letters(keptEndpoints(told(text), 'UDP')), udp);
      for (const protocol of ['TCP', 'SCTP'] as const)
        assert.equal(letters(keptEndpoints(told(text), protocol)), tcp);
    });
});
