/** The reconciler of ports over a scripted driver: what is asked of the switch, in which order, and what is reported. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { type PortDriver, Ports } from '../../../src/dataplane/ports.js';
import type { PortSpec } from '../../../src/dataplane/protocol/desired-state.js';

function spec(id: string, change: Partial<PortSpec> = {}): PortSpec {
  return {
    id,
    namespace: 'test',
    name: id,
    netns: `/run/netns/${id}`,
    ifname: 'eth0',
    mac: '02:00:00:00:00:01',
    addresses: ['10.42.0.1'],
    mtu: 1500,
    kind: 'pod',
    ...change,
  };
}

class Script implements PortDriver {
  readonly calls: string[] = [];
  /** Ids whose attach, update or detach fails. */
  readonly failing = new Set<string>();
  broken: { id: string; code: string; message: string }[] = [];
  #instance = 0;

  attach = async ({ id }: PortSpec) => {
    this.calls.push(`attach ${id}`);
    this.#fail(`attach ${id}`);
    return { instance: ++this.#instance, origin: 'created' } as const;
  };
  detach = async ({ id }: PortSpec) => {
    this.calls.push(`detach ${id}`);
    this.#fail(`detach ${id}`);
  };
  updateAddresses = async ({ id }: PortSpec) => {
    this.calls.push(`update ${id}`);
    this.#fail(`update ${id}`);
  };
  /** What `restore` finds, once. */
  changes: string[] = [];
  restore = async ({ id }: PortSpec) => {
    this.calls.push(`restore ${id}`);
    this.#fail(`restore ${id}`);
    return this.changes.splice(0);
  };
  setBandwidth = ({ id, bandwidth }: PortSpec) => {
    this.calls.push(`bandwidth ${id} ${JSON.stringify(bandwidth ?? null)}`);
  };
  brokenPorts = () => this.broken;

  taken(): string[] {
    return this.calls.splice(0);
  }
  #fail(call: string): void {
    if (this.failing.has(call))
      throw Object.assign(new Error(`${call} does not work`), { code: 'tap-busy', errno: 16 });
  }
}

function setUp() {
  const driver = new Script();
  const told: string[] = [];
  return { driver, told, ports: new Ports(driver, (message) => told.push(message)) };
}

test('desired state is all there is: what is new is attached, what is gone is detached, what is the same is left alone', async () => {
  const { driver, ports } = setUp();
  assert.deepEqual(await ports.apply([spec('a'), spec('b')]), [
    { id: 'a', status: 'live' },
    { id: 'b', status: 'live' },
  ]);
  assert.deepEqual(driver.taken(), ['attach a', 'attach b']);
  await ports.apply([spec('b'), spec('a')]);
  assert.deepEqual(driver.taken(), []);
  await ports.apply([spec('b')]);
  assert.deepEqual(driver.taken(), ['detach a']);
  await ports.apply([]);
  assert.deepEqual(driver.taken(), ['detach b']);
  assert.deepEqual(ports.reports(), []);
});

test('removals begin before additions, so that an address can change hands in one publication', async () => {
  const { driver, ports } = setUp();
  await ports.apply([spec('old')]);
  driver.taken();
  await ports.apply([spec('new')]);
  assert.deepEqual(driver.taken(), ['detach old', 'attach new']);
});

test('addresses change in place; what needs another device is made anew', async () => {
  const rows: readonly (readonly [Partial<PortSpec>, readonly string[]])[] = [
    [{ addresses: ['10.42.0.2'] }, ['update a']],
    [{ sources: ['10.42.0.0'] }, ['update a']],
    [{ name: 'renamed' }, []],
    [{ netns: '/run/netns/other' }, ['detach a', 'attach a']],
    [{ mac: '02:00:00:00:00:02' }, ['detach a', 'attach a']],
    [{ mtu: 9000 }, ['detach a', 'attach a']],
    [{ ifname: 'eth1' }, ['detach a', 'attach a']],
  ];
  for (const [change, calls] of rows) {
    const { driver, ports } = setUp();
    await ports.apply([spec('a')]);
    driver.taken();
    await ports.apply([spec('a', change)]);
    assert.deepEqual(driver.taken(), calls, JSON.stringify(change));
    assert.deepEqual(ports.specs(), [spec('a', change)]);
  }
});

test('one failure is reported with its code, costs the others nothing, and is tried again at the next publication', async () => {
  const { driver, ports } = setUp();
  driver.failing.add('attach b');
  const statuses = await ports.apply([spec('a'), spec('b'), spec('c')]);
  assert.deepEqual(
    statuses.map(({ id, status, error }) => [id, status, error?.code]),
    [
      ['a', 'live', undefined],
      ['b', 'failed', 'tap-busy'],
      ['c', 'live', undefined],
    ],
  );
  driver.failing.clear();
  driver.taken();
  assert.equal((await ports.apply([spec('a'), spec('b'), spec('c')]))[1]?.status, 'live');
  assert.deepEqual(driver.taken(), ['attach b']);
});

test('an interface that cannot be deleted does not keep its port', async () => {
  const { driver, ports } = setUp();
  await ports.apply([spec('a')]);
  driver.failing.add('detach a');
  assert.deepEqual(await ports.apply([]), []);
  assert.deepEqual(ports.specs(), []);
});

test('addresses that cannot be changed take the port out: half-changed it must not forward', async () => {
  const { driver, ports } = setUp();
  await ports.apply([spec('a')]);
  driver.failing.add('update a');
  driver.taken();
  const [status] = await ports.apply([spec('a', { addresses: ['10.42.0.9'] })]);
  assert.equal(status?.status, 'failed');
  assert.deepEqual(driver.taken(), ['update a', 'detach a']);
});

test('a port whose device is gone is taken out and stays listed as failed until the next publication', async () => {
  const { driver, ports } = setUp();
  await ports.apply([spec('a'), spec('b')]);
  driver.taken();
  driver.broken = [{ id: 'a', code: 'tap-gone', message: 'it is gone' }];
  await ports.check();
  assert.deepEqual(driver.taken(), ['detach a']);
  assert.deepEqual(
    ports.reports().map(({ id, status, error, instance }) => [id, status, error?.code, instance]),
    [
      ['a', 'failed', 'tap-gone', 0],
      ['b', 'live', undefined, 2],
    ],
  );
  // Told again before it was taken out everywhere: nothing more to do.
  await ports.check();
  assert.deepEqual(driver.taken(), []);
  driver.broken = [];
  await ports.apply([spec('a'), spec('b')]);
  assert.deepEqual(driver.taken(), ['attach a']);
});

test('what would be removed is known before it is, so that it can be written down first', async () => {
  const { ports } = setUp();
  await ports.apply([spec('a'), spec('b')]);
  assert.deepEqual(
    ports.leaving([spec('b', { mtu: 9000 }), spec('c')]).map(({ id }) => id),
    ['a', 'b'],
  );
});

test('bandwidth changes in place: neither device nor addresses are touched', async () => {
  const { driver, ports } = setUp();
  await ports.apply([spec('a')]);
  driver.taken();
  const limited = { ...spec('a'), bandwidth: { egressRate: 1000 } };
  await ports.apply([limited]);
  assert.deepEqual(driver.taken(), ['bandwidth a {"egressRate":1000}']);
  await ports.apply([{ ...limited, bandwidth: { egressRate: 1000 } }]);
  assert.deepEqual(driver.taken(), []);
  await ports.apply([spec('a')]);
  assert.deepEqual(driver.taken(), ['bandwidth a null']);
});

test('reports tell whether a namespace is still at the path of its pod', async () => {
  const states = new Map<string, 'there' | 'gone'>([
    ['/run/netns/a', 'there'],
    ['/run/netns/b', 'gone'],
  ]);
  const ports = new Ports(
    new Script(),
    () => {},
    (path) => states.get(path) ?? 'unknown',
  );
  await ports.apply([
    ...['a', 'b', 'c'].map((id) => ({ ...spec(id), netns: `/run/netns/${id}` })),
    { ...spec('host'), netns: '', kind: 'host' as const },
  ]);
  assert.deepEqual(
    ports.reports().map(({ id, namespace }) => `${id} ${namespace}`),
    ['a there', 'b gone', 'c unknown', 'host there'],
  );
});

const hostSpec = spec('host', { kind: 'host', netns: '', ifname: 'weft0' });

test("the host port's interface is brought back when somebody changed it, and only then is that told", async () => {
  const { driver, ports, told } = setUp();
  await ports.restoreHost();
  await ports.apply([hostSpec, spec('a')]);
  driver.taken();
  await ports.restoreHost();
  assert.deepEqual(driver.taken(), ['restore host']);
  assert.equal(ports.restored, null, 'it was as it should be');
  driver.changes = ['link down', 'address 10.42.0.1'];
  await ports.restoreHost();
  assert.deepEqual(driver.taken(), ['restore host']);
  assert.deepEqual(
    { ...ports.restored!, at: 0 },
    { times: 1, changes: ['link down', 'address 10.42.0.1'], at: 0 },
  );
  assert.match(told.join(), /somebody changed the host port's interface/);
});

test("a host port whose interface is gone is made again without a publication, a pod's is not", async () => {
  const { driver, ports, told } = setUp();
  await ports.apply([hostSpec, spec('a')]);
  driver.taken();
  driver.broken = ['host', 'a'].map((id) => ({ id, code: 'tap-gone', message: 'it was deleted' }));
  await ports.check();
  assert.deepEqual(driver.taken().sort(), ['attach host', 'detach a', 'detach host']);
  driver.broken = [];
  assert.deepEqual(
    ports.reports().map(({ id, status }) => [id, status]),
    [
      ['host', 'live'],
      ['a', 'failed'],
    ],
  );
  assert.equal(ports.restored?.times, 1);
  // As long as it cannot be made it is tried at each check, and told once.
  driver.broken = [{ id: 'host', code: 'tap-gone', message: 'it was deleted' }];
  driver.failing.add('attach host');
  told.length = 0;
  for (let i = 0; i < 3; i++) await ports.check();
  assert.deepEqual(driver.taken(), ['detach host', 'attach host', 'attach host', 'attach host']);
  assert.equal(told.filter((line) => /could not be attached/.test(line)).length, 1);
  driver.failing.clear();
  await ports.check();
  assert.equal(ports.restored?.times, 2);
});

test('a host port whose interface has another name is removed wherever it is and made anew', async () => {
  const { driver, ports } = setUp();
  await ports.apply([hostSpec]);
  driver.taken();
  driver.failing.add('restore host');
  await ports.restoreHost();
  assert.deepEqual(driver.taken(), ['restore host', 'detach host', 'attach host']);
  assert.equal(ports.reports()[0]?.status, 'live');
});

test('a look at the host port and a publication wait for each other', async () => {
  const { driver, ports } = setUp();
  await ports.apply([hostSpec]);
  driver.taken();
  driver.failing.add('restore host');
  await Promise.all([ports.restoreHost(), ports.apply([hostSpec]), ports.apply([]), ports.restoreHost()]);
  assert.deepEqual(driver.taken(), ['restore host', 'detach host', 'attach host', 'detach host']);
});
