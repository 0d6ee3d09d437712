import assert from 'node:assert/strict';
import { test } from 'node:test';
import { resolveEndpoints } from '../../../src/model/endpoints.js';
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
  for (const { port, family, backends } of resolveEndpoints(service, pods, slices, node)) {
    result[`${port.name}/${port.protocol}/${family}`] = backends.map((to) => `${to.address.text} ${to.port}`);
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

test('internalTrafficPolicy: Local means backends of the own node', () => {
  const local = service({ internalTrafficPolicy: 'Local' });
  assert.deepEqual(found(local, [], 'two'), { 'http/TCP/4': ['10.0.0.1 8080'] });
  assert.deepEqual(found(local, [], 'three'), { 'http/TCP/4': [] });
  assert.deepEqual(found(local), { 'http/TCP/4': ['10.0.0.1 8080', '10.0.0.2 8081'] });
});
