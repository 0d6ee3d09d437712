import assert from 'node:assert/strict';
import test from 'node:test';
import { FrameInvalid, PortParser, parsePort, parseRequest } from '../../../src/dataplane/parse-request.js';

const port = {
  id: 'abc',
  namespace: 'web',
  name: 'frontend',
  netns: '/run/netns/x',
  ifname: 'eth0',
  mac: '02:00:00:00:00:01',
  addresses: ['10.42.0.5', 'fd00::5'],
  mtu: 1500,
  kind: 'pod',
};
const publish = { id: 1, type: 'publish', epoch: 3, revision: 9, image: '/run/weft/image', ports: [port] };

test('well-formed frames come out as they went in', () => {
  const frames: object[] = [
    { id: 1, type: 'hello', role: 'agent', epoch: 3 },
    { id: 1, type: 'hello', role: 'observer' },
    publish,
    { ...publish, image: null, ports: [] },
    { ...publish, ports: [{ ...port, bandwidth: { ingressRate: 1, egressRate: 2 ** 40, egressBurst: 9 } }] },
    { ...publish, settings: { flowSampling: 0, timeouts: { 'udp-stream': 0.5 } } },
    { id: 2, type: 'query', what: 'status' },
    { id: 2, type: 'query', what: 'connections', port: 'abc', limit: 5 },
    {
      id: 2,
      type: 'query',
      what: 'explain',
      flow: { source: '10.0.0.1', destination: '10.0.0.2', protocol: 6, port: 80 },
    },
    { id: 3, type: 'subscribe', what: 'flows', filter: { denied: true } },
    { id: 3, type: 'subscribe', what: 'capture', filter: { port: 'abc', drops: true, snapLength: 96 } },
    { id: 4, type: 'unsubscribe', subscription: 3 },
  ];
  for (const frame of frames) assert.deepEqual(parseRequest(frame as Record<string, unknown>), frame);
});

test('a host port has routes and no namespace, and what only a pod or a host has is left out', () => {
  const routes = [{ destination: '10.42.0.0/16', source: '192.168.1.5' }, { destination: 'fd00::/64' }];
  const sources = ['10.42.0.0', 'fd00::'];
  const host = { ...port, kind: 'host', netns: '', ifname: 'weft0', routes, sources };
  assert.deepEqual(parsePort(host, 'ports[0]'), host);
  const { routes: none, sources: neither } = parsePort({ ...port, routes, sources }, 'ports[0]');
  assert.deepEqual([none, neither], [undefined, undefined]);
});

test('addresses become canonical, so that one address has one text', () => {
  assert.deepEqual(parsePort({ ...port, addresses: ['FD00:0::5'] }, 'ports[0]').addresses, ['fd00::5']);
});

test('a port that is written as in the publication before is the same value; one that is not is parsed anew', () => {
  const parser = new PortParser();
  const other = { ...port, id: 'def', addresses: ['10.42.0.6'] };
  const before = parser.parse([port, other], 1);
  const after = parser.parse([{ ...other }, { ...port, addresses: ['10.42.0.7'] }], 2);
  assert.equal(after[0], before[1]);
  assert.deepEqual(after[1], { ...port, addresses: ['10.42.0.7'] });
  // A publication that is refused leaves nothing behind.
  assert.throws(
    () =>
      parser.parse(
        [
          { ...port, mtu: 9000 },
          { ...other, mtu: 1 },
        ],
        3,
      ),
    FrameInvalid,
  );
  assert.equal(parser.parse([other], 3)[0], before[1]);
  assert.throws(() => parser.parse([{ ...port, mtu: 1 }], 4), FrameInvalid);
});

test('in place of its ports a publication names the one before on its connection, and no other', () => {
  const parser = new PortParser();
  const publish = (revision: number, ports: object) =>
    parseRequest({ id: 1, type: 'publish', epoch: 1, revision, image: null, ...ports }, parser);
  const portsOf = (request: ReturnType<typeof publish>) =>
    (request as { readonly ports: readonly unknown[] }).ports;
  assert.throws(() => publish(1, { portsOf: 0 }), FrameInvalid);
  const first = portsOf(publish(1, { ports: [port] }));
  assert.equal(portsOf(publish(2, { portsOf: 1 })), first);
  assert.equal(portsOf(publish(3, { portsOf: 2 })), first);
  assert.throws(() => publish(4, { portsOf: 2 }), /is 2.*is 3/);
  // What was refused was no publication.
  assert.throws(() => publish(4, { ports: [port, port] }), FrameInvalid);
  assert.equal(portsOf(publish(4, { portsOf: 3 })), first);
  assert.deepEqual(portsOf(publish(5, { ports: [] })), []);
  assert.deepEqual(portsOf(publish(6, { portsOf: 5 })), []);
});

test('every field out of its form is refused by name', () => {
  const explain = (change: object) => ({
    id: 1,
    type: 'query',
    what: 'explain',
    flow: { source: '10.0.0.1', destination: '10.0.0.2', protocol: 6, port: 80, ...change },
  });
  const frame = (change: object) => ({ ...publish, ...change });
  const withPort = (change: object) => frame({ ports: [{ ...port, ...change }] });
  const rows: readonly (readonly [object, RegExp])[] = [
    [{ type: 'hello', role: 'agent', epoch: 1 }, /^id /],
    [{ id: 1.5, type: 'hello', role: 'observer' }, /^id /],
    [{ id: 1, type: 'shutdown' }, /type 'shutdown' is none of/],
    [{ id: 1, type: 'hello', role: 'root' }, /^role is none of/],
    [{ id: 1, type: 'hello', role: 'agent' }, /^epoch /],
    [{ id: 1, type: 'hello', role: 'agent', epoch: 0 }, /^epoch /],
    [{ id: 1, type: 'query', what: 'secrets' }, /^what is none of/],
    [{ id: 1, type: 'query', what: 'connections', limit: 0 }, /^limit /],
    [{ id: 1, type: 'query', what: 'explain' }, /^flow is not an object/],
    [explain({ source: 'web' }), /^flow\.source 'web' is no address/],
    [explain({ destination: 'fd00::1' }), /different families/],
    [explain({ protocol: 256 }), /^flow\.protocol /],
    [explain({ port: 65_536 }), /^flow\.port /],
    [{ id: 1, type: 'subscribe', what: 'capture' }, /^port /],
    [{ id: 1, type: 'subscribe', what: 'capture', filter: { port: 'a', snapLength: 1 } }, /^snapLength /],
    [frame({ image: 'relative' }), /^image is not an absolute path/],
    [frame({ ports: {} }), /^ports is not a list/],
    [frame({ ports: [port, port] }), /'abc' is listed twice/],
    [frame({ settings: [] }), /^settings is not an object/],
    [frame({ settings: { flowSampling: -1 } }), /^settings\.flowSampling /],
    [
      frame({ settings: { timeouts: { 'tcp-sometimes': 3 } } }),
      /^settings\.timeouts\.tcp-sometimes is none of/,
    ],
    [frame({ settings: { timeouts: { icmp: 0 } } }), /^settings\.timeouts\.icmp /],
    [withPort({ id: 'a/b' }), /^ports\[0\]\.id /],
    [withPort({ id: '' }), /^ports\[0\]\.id /],
    [withPort({ ifname: 'a b' }), /^ports\[0\]\.ifname /],
    [withPort({ ifname: '..' }), /^ports\[0\]\.ifname /],
    [withPort({ ifname: 'eth0123456789abcd' }), /^ports\[0\]\.ifname /],
    [withPort({ mac: '03:00:00:00:00:01' }), /^ports\[0\]\.mac .* unicast/],
    [withPort({ mac: '02-00-00-00-00-01' }), /^ports\[0\]\.mac /],
    [withPort({ addresses: ['10.42.0.5/32'] }), /^ports\[0\]\.addresses\[0\] /],
    [withPort({ addresses: ['10.42.0.5', '10.42.0.6'] }), /two of one family/],
    [withPort({ addresses: [] }), /pod without an address/],
    [withPort({ netns: 'run/netns/x' }), /^ports\[0\]\.netns is not an absolute path/],
    [withPort({ netns: '/run/netns/x\0y' }), /zero byte/],
    [withPort({ kind: 'host' }), /^ports\[0\]\.netns is not empty/],
    [withPort({ kind: 'bridge' }), /^ports\[0\]\.kind is none of/],
    [withPort({ bandwidth: [] }), /^ports\[0\]\.bandwidth is not an object/],
    [withPort({ bandwidth: { egressRate: 0 } }), /^ports\[0\]\.bandwidth\.egressRate /],
    [withPort({ mtu: 1279 }), /^ports\[0\]\.mtu .* 1280 to 65521/],
    [withPort({ mtu: 65_522 }), /^ports\[0\]\.mtu /],
    [
      withPort({ kind: 'host', netns: '', routes: [{ destination: '10.42.0.0' }] }),
      /^ports\[0\]\.routes\[0\]\.destination /,
    ],
    [
      withPort({ kind: 'host', netns: '', routes: [{ destination: '10.42.0.0/16', source: 'fd00::1' }] }),
      /^ports\[0\]\.routes\[0\]\.source /,
    ],
    [withPort({ kind: 'host', netns: '', sources: ['fd00::', 'fd01::'] }), /^ports\[0\]\.sources has two/],
  ];
  for (const [value, message] of rows)
    assert.throws(
      () => parseRequest(value as Record<string, unknown>),
      (error) => error instanceof FrameInvalid && message.test(error.message),
      `${JSON.stringify(value)} against ${message}`,
    );
});
