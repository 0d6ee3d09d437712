/**
 * An uplink that lives by router advertisements keeps its address and its default route when the agent turns forwarding on, and goes on taking
 * them. A router on the link says so with real advertisements (RFC 4861 section 4.2); what becomes of them is the kernel's word.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { loadAddon, type RawSocketHandle } from '../../src/dataplane/addon.js';
import { ethernet, icmp, ip, ipv6, mac, protocols } from '../support/frames.js';
import { HostNet } from '../support/host-net.js';
import { TestNode } from '../support/node.js';
import { until } from '../support/weft.js';

const net = new HostNet();
let node: TestNode | undefined;
let router: RawSocketHandle;
let routerMac: string;
let routerAddress: string;

before(() => {
  // As on a host whose uplink has nothing but what routers tell.
  net.run('host', 'ip', '-6', 'route', 'del', 'default');
  net.run('host', 'sysctl', '-qw', 'net.ipv6.conf.up0.accept_ra=1');
  const link = net.run('far', 'ip', 'addr', 'show', 'dev', 'eth0');
  routerMac = /link\/ether (\S+)/.exec(link)![1]!;
  routerAddress = /inet6 (fe80\S+)\/64/.exec(link)![1]!;
  router = new (loadAddon().RawSocket)({ netns: net.netns('far'), ifname: 'eth0', vnetHeader: false });
});
after(async () => {
  router?.close();
  await node?.end();
  net.end();
});

/** A router that lives for so many seconds, with a prefix for addresses that live as long. */
function advertise(seconds: number): void {
  const option = Buffer.alloc(32);
  option.set([3, 4, 64, 0xc0]);
  option.writeUInt32BE(seconds, 4);
  option.writeUInt32BE(seconds, 8);
  ip('2001:db8:77::').copy(option, 16);
  const source = Buffer.concat([Buffer.from([1, 1]), mac(routerMac)]);
  // Hop limit 64, no flags, the router's lifetime; then reachable and retransmission time, unspecified.
  const rest = 64 * 2 ** 24 + seconds;
  const all = 'ff02::1';
  const message = icmp(134, 0, rest, Buffer.concat([Buffer.alloc(8), option, source]), {
    from: routerAddress,
    to: all,
  });
  const frame = ethernet(
    routerMac,
    '33:33:00:00:00:01',
    0x86dd,
    ipv6(routerAddress, all, protocols.icmpv6, message, 255),
  );
  assert.ok(router.send(frame) > 0);
}

/** Seconds that the route to everywhere has left; null: no router has told of one. */
function routeLeft(): number | null {
  const text = net.run('host', 'ip', '-6', 'route', 'show', 'default', 'proto', 'ra');
  return Number(/expires (\d+)sec/.exec(text)?.[1] ?? Number.NaN) || null;
}

/** The same of the address that the host made for itself. */
function addressLeft(): number | null {
  const text = net.run('host', 'ip', '-6', 'addr', 'show', 'dev', 'up0', 'dynamic');
  return Number(/2001:db8:77:[\s\S]*?valid_lft (\d+)sec/.exec(text)?.[1] ?? Number.NaN) || null;
}

const setting = (name: string) => net.run('host', 'sysctl', '-n', `net.ipv6.conf.${name}`).trim();

test('address and default route of an uplink outlive that the agent turns forwarding on, and are renewed after it', async () => {
  assert.equal(setting('all.forwarding'), '0');
  advertise(1000);
  await until('the host has both', 10, () => routeLeft() !== null && addressLeft() !== null);
  node = await TestNode.start({ netns: net.netns('host'), config: net.config });
  await until('the host forwards', 15, () => setting('all.forwarding') === '1');
  assert.equal(setting('up0.accept_ra'), '2');
  // The kernel forgets the routes of interfaces that would take no more advertisements the moment it begins to forward.
  assert.ok((routeLeft() ?? 0) > 0, 'the route is still there');
  assert.ok((addressLeft() ?? 0) > 0, 'the address too');
  advertise(5000);
  await until('both are renewed', 10, () => (routeLeft() ?? 0) > 1000 && (addressLeft() ?? 0) > 1000);
});

test('without that setting the same advertisement would not count: the test can tell', async () => {
  net.run('host', 'sysctl', '-qw', 'net.ipv6.conf.up0.accept_ra=1');
  advertise(60_000);
  // What is heard is heard in order: an answer to a later question says that the advertisement was there.
  assert.equal(await net.ask('far', '2001:db8::1', 9), 'none');
  assert.ok((routeLeft() ?? 0) <= 5000);
  net.run('host', 'sysctl', '-qw', 'net.ipv6.conf.up0.accept_ra=2');
  advertise(60_000);
  await until('it counts again', 10, () => (routeLeft() ?? 0) > 5000);
});
