import assert from 'node:assert/strict';
import {
  appendFileSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import type { Problem } from '../../../src/errors/problem.js';
import { Leases, type Wish } from '../../../src/ipam/leases.js';
import { AddressPool } from '../../../src/ipam/pool.js';
import { type Address, address } from '../../../src/net/address.js';
import { cidr } from '../../../src/net/cidr.js';

function journal(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'weft-ipam-'));
  t.after(() => rmSync(folder, { recursive: true }));
  return join(folder, 'leases.jsonl');
}

const assigned = (...addresses: Address[]): Wish => ({ addresses, by: 'assigned' });
const requested = (...addresses: Address[]): Wish => ({ addresses, by: 'requested' });

function give(leases: Leases, id: string): string {
  const { lease, problem } = leases.allocate(id, `ns/${id}`, {});
  return lease === undefined ? problem.code : lease.addresses.map(({ text }) => text).join(' ');
}

test('addresses come in order, never used ones before released ones, the longest released first', (t) => {
  const leases = new Leases(journal(t), [cidr('10.0.0.0/29')]);
  assert.deepEqual(
    ['a', 'b', 'c'].map((id) => give(leases, id)),
    ['10.0.0.2', '10.0.0.3', '10.0.0.4'],
  );
  leases.release('b');
  leases.release('a');
  assert.deepEqual(
    ['d', 'e', 'f', 'g'].map((id) => give(leases, id)),
    ['10.0.0.5', '10.0.0.6', '10.0.0.3', '10.0.0.2'],
  );
  assert.equal(give(leases, 'h'), 'addresses-exhausted');
  leases.release('d');
  assert.equal(give(leases, 'h'), '10.0.0.5', 'after exhaustion a released address is enough');
});

const ranges: readonly (readonly [string, number, string, string])[] = [
  ['10.0.0.0/30', 1, '10.0.0.2', '10.0.0.2'],
  ['10.0.0.0/24', 253, '10.0.0.2', '10.0.0.254'],
  ['fd00::/126', 2, 'fd00::2', 'fd00::3'],
  ['fd00::/64', 2 ** 20, 'fd00::2', 'fd00::10:1'],
];
for (const [block, total, first, last] of ranges) {
  test(`${block} gives ${total} addresses, ${first} to ${last}: not the network's, the node's and the broadcast address`, (t) => {
    const leases = new Leases(journal(t), [cidr(block)]);
    assert.equal(leases.use()[0]!.total, BigInt(total));
    assert.equal(give(leases, 'a'), first);
    assert.deepEqual(
      leases.allocate('z', 'ns/z', {}, assigned(address(last))).lease?.addresses[0]?.text ?? 'taken',
      first === last ? 'taken' : last,
    );
    assert.equal(leases.use()[0]!.used, first === last ? 1 : 2);
  });
}

test('dual-stack pods get one of each family or nothing', (t) => {
  const leases = new Leases(journal(t), [cidr('10.0.0.0/24'), cidr('fd00::/127')]);
  const before = leases.use()[0]!.used;
  const first = give(leases, 'a');
  const second = give(leases, 'b');
  const third = give(leases, 'c');
  assert.deepEqual([first, second, third], ['10.0.0.2 fd00::', '10.0.0.3 fd00::1', 'addresses-exhausted']);
  assert.equal(leases.use()[0]!.used - before, 2, 'the IPv4 address was not kept by the failure');
});

test('fixed addresses are honoured inside and outside of the pool; one that is held is refused by its holder', (t) => {
  const leases = new Leases(journal(t), [cidr('10.0.0.0/29')]);
  assert.equal(leases.allocate('s', 'ns/s', {}, assigned(address('10.0.0.2'))).problem, undefined);
  assert.equal(leases.allocate('o', 'ns/o', {}, assigned(address('192.0.2.7'))).problem, undefined);
  assert.equal(give(leases, 'a'), '10.0.0.3', 'the fixed address is skipped');
  const taken = leases.allocate('t', 'ns/t', {}, assigned(address('192.0.2.7')));
  assert.equal(taken.problem?.code, 'address-taken');
  assert.match(taken.problem?.message ?? '', /ns\/o/);
});

test('the same id again has the same addresses and the new details', (t) => {
  const leases = new Leases<{ n: number }>(journal(t), [cidr('10.0.0.0/29')]);
  leases.allocate('a', 'ns/a', { n: 1 });
  const again = leases.allocate('a', 'ns/a', { n: 2 });
  assert.deepEqual([again.lease?.addresses[0]?.text, again.lease?.details.n], ['10.0.0.2', 2]);
  assert.equal(leases.use()[0]!.used, 1);
  assert.equal(leases.release('a'), true);
  assert.equal(leases.release('a'), false);
  assert.equal(leases.use()[0]!.used, 0);
});

test('a restart knows every lease and gives out in the same order as if there had been none', (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.boolean(), fc.integer({ min: 0, max: 9 }), fc.boolean()), { maxLength: 60 }),
      (steps) => {
        const file = journal(t);
        const other = journal(t);
        const pool = [cidr('10.0.0.0/29'), cidr('fd00::/125')];
        const steady = new Leases(file, pool);
        let restarted = new Leases(other, pool);
        for (const [take, number, restart] of steps) {
          if (restart) restarted = new Leases(other, pool);
          const id = `p${number}`;
          if (take) assert.equal(give(restarted, id), give(steady, id));
          else assert.equal(restarted.release(id), steady.release(id));
        }
        assert.deepEqual(restarted.use(), steady.use());
        const held = restarted.list().flatMap(({ addresses }) => addresses.map(({ text }) => text));
        assert.equal(new Set(held).size, held.length, 'no address is given twice');
      },
    ),
    { numRuns: 60, seed: 3 },
  );
});

test('a torn last line is dropped, the one after it stands alone; a damaged line is told and left out', (t) => {
  const file = journal(t);
  const leases = new Leases(file, [cidr('10.0.0.0/24')]);
  give(leases, 'a');
  give(leases, 'b');
  truncateSync(file, statSync(file).size - 5);
  const problems: Problem[] = [];
  const after = new Leases(file, [cidr('10.0.0.0/24')], (problem) => problems.push(problem));
  assert.deepEqual(
    after.list().map(({ id }) => id),
    ['a'],
  );
  assert.equal(problems.length, 0);
  give(after, 'c');
  appendFileSync(file, 'nonsense\n{"lease":"x"}\n');
  const last = new Leases(file, [cidr('10.0.0.0/24')], (problem) => problems.push(problem));
  assert.deepEqual(
    last.list().map(({ id }) => id),
    ['a', 'c'],
  );
  assert.deepEqual(
    problems.map(({ code, source }) => [code, source?.line]),
    [
      ['leases-damaged', 3],
      ['leases-damaged', 4],
    ],
  );
});

test('the journal is rewritten before it grows without bound, and keeps the order of released addresses', (t) => {
  const file = journal(t);
  const pool = [cidr('10.0.0.0/28')];
  const leases = new Leases(file, pool);
  const steady = new Leases(journal(t), pool);
  for (let i = 0; i < 3000; i++) {
    assert.equal(give(leases, `p${i % 7}`), give(steady, `p${i % 7}`));
    if (i % 3 !== 0) assert.equal(leases.release(`p${i % 5}`), steady.release(`p${i % 5}`));
  }
  assert.ok(readFileSync(file, 'utf8').split('\n').length < 1400);
  const restarted = new Leases(file, pool);
  for (let i = 20; i < 40; i++) assert.equal(give(restarted, `p${i}`), give(steady, `p${i}`));
});

test('another pod CIDR after a restart keeps the old leases and gives from the new block', (t) => {
  const file = journal(t);
  give(new Leases(file, [cidr('10.0.0.0/29')]), 'a');
  const leases = new Leases(file, [cidr('10.1.0.0/29')]);
  assert.equal(leases.get('a')?.addresses[0]?.text, '10.0.0.2');
  assert.equal(give(leases, 'b'), '10.1.0.2');
  assert.equal(
    leases.allocate('c', 'ns/c', {}, assigned(address('10.0.0.2'))).problem?.code,
    'address-taken',
  );
});

test('the smallest pools: two addresses in a /31, none reserved in a /32', () => {
  const count = (prefix: number) => new AddressPool(0x0a000000n, 32, prefix).total;
  assert.deepEqual([count(31), count(32), count(30)], [2n, 1n, 1n]);
});

test('requested addresses lie in the pools; a family that is not asked for comes from its pool', (t) => {
  const leases = new Leases(journal(t), [cidr('10.0.0.0/29'), cidr('fd00::/120')]);
  const texts = (id: string, wish: Wish) => {
    const { lease, problem } = leases.allocate(id, `ns/${id}`, {}, wish);
    return lease === undefined ? problem.code : lease.addresses.map(({ text }) => text).join(' ');
  };
  assert.equal(texts('four', requested(address('10.0.0.5'))), '10.0.0.5 fd00::2');
  assert.equal(texts('six', requested(address('fd00::9'))), 'fd00::9 10.0.0.2');
  assert.equal(texts('both', requested(address('fd00::5'), address('10.0.0.6'))), 'fd00::5 10.0.0.6');
  assert.equal(texts('taken', requested(address('10.0.0.5'))), 'address-taken');
  for (const outside of ['10.0.0.1', '10.0.0.0', '10.0.0.7', '10.0.1.2', 'fd00::1', '192.0.2.1'])
    assert.equal(texts('out', requested(address(outside))), 'address-outside', outside);
  assert.equal(texts('four', requested(address('10.0.0.5'))), '10.0.0.5 fd00::2', 'the same request again');
  const used = leases.use().map((pool) => pool.used);
  assert.deepEqual(used, [3, 3], 'a refusal keeps nothing');
  assert.match(
    leases.allocate('out', 'ns/out', {}, requested(address('192.0.2.1'))).problem?.message ?? '',
    /10\.0\.0\.2 to 10\.0\.0\.6, fd00::2/,
  );
});

test('who wishes for other addresses and is refused keeps what he has; who gets them gives the former ones back', (t) => {
  const file = journal(t);
  const leases = new Leases(file, [cidr('10.0.0.0/29'), cidr('fd00::/120')]);
  const texts = (of: Leases, id: string) => of.get(id)?.addresses.map(({ text }) => text);
  for (const id of ['a', 'b']) leases.allocate(id, `ns/${id}`, {});
  const before = texts(leases, 'a');
  for (const wish of [requested(address('10.0.0.3')), assigned(address('10.0.0.3'))]) {
    assert.equal(leases.allocate('a', 'ns/a', {}, wish).problem?.code, 'address-taken');
    assert.deepEqual(texts(leases, 'a'), before);
  }
  leases.allocate('a', 'ns/a', {}, requested(address('10.0.0.6')));
  for (const of of [leases, new Leases(file, [cidr('10.0.0.0/29'), cidr('fd00::/120')])]) {
    assert.deepEqual(texts(of, 'a'), ['10.0.0.6', 'fd00::2'], 'the family that was not named stays');
    assert.deepEqual(
      of.use().map(({ used }) => used),
      [2, 2],
    );
  }
  assert.deepEqual(
    ['c', 'd', 'e', 'f'].map((id) => give(leases, id)),
    ['10.0.0.4 fd00::4', '10.0.0.5 fd00::5', '10.0.0.2 fd00::6', 'addresses-exhausted'],
  );
});

test('without a pool there is a word about what is missing, and the pools that come are remembered over a restart', (t) => {
  const file = journal(t);
  const leases = new Leases(file, []);
  assert.equal(give(leases, 'a'), 'pod-cidrs-missing');
  assert.deepEqual([leases.nodeAddresses(), leases.use()], [[], []]);
  assert.equal(leases.setCidrs([cidr('10.0.0.0/29')]), true);
  assert.equal(leases.setCidrs([cidr('10.0.0.0/29')]), false, 'no news');
  assert.equal(give(leases, 'a'), '10.0.0.2');
  const again = new Leases(file, []);
  assert.deepEqual(
    again.cidrs.map(({ text }) => text),
    ['10.0.0.0/29'],
  );
  assert.equal(give(again, 'b'), '10.0.0.3');
  const configured = new Leases(file, [cidr('10.9.0.0/29')]);
  assert.equal(give(configured, 'c'), '10.9.0.2', 'the configuration comes before what is remembered');
  assert.deepEqual(
    configured.leftOver().map(({ text }) => text),
    ['10.0.0.2', '10.0.0.3'],
  );
});

test('pools that are replaced keep their leases and their order; new leases come from the new ones', (t) => {
  const file = journal(t);
  const leases = new Leases(file, [], (problem) => assert.fail(problem.message));
  leases.setCidrs([cidr('10.0.0.0/29')]);
  for (const id of ['a', 'b', 'c']) give(leases, id);
  leases.release('a');
  leases.setCidrs([cidr('10.1.0.0/29'), cidr('fd00::/120')]);
  assert.equal(give(leases, 'd'), '10.1.0.2 fd00::2');
  assert.equal(leases.get('b')?.addresses[0]?.text, '10.0.0.3');
  assert.deepEqual(
    leases.leftOver().map(({ text }) => text),
    ['10.0.0.3', '10.0.0.4'],
  );
  leases.release('c');
  for (const of of [leases, new Leases(file, [])]) {
    assert.deepEqual(
      of.leftOver().map(({ text }) => text),
      ['10.0.0.3'],
    );
  }
  const back = new Leases(file, []);
  back.setCidrs([cidr('10.0.0.0/29')]);
  assert.deepEqual(
    ['e', 'f', 'g', 'h', 'i'].map((id) => give(back, id)),
    ['10.0.0.5', '10.0.0.6', '10.0.0.2', '10.0.0.4', 'addresses-exhausted'],
    'never used ones first, then in the order of their release',
  );
  back.setCidrs([cidr('10.0.0.0/28')]);
  assert.equal(give(back, 'j'), '10.0.0.7', 'a CIDR that grows gives no address that is in use');
  assert.deepEqual(back.leftOver(), [cidr('10.1.0.2/32').base, cidr('fd00::2/128').base]);
});

test('a rewritten journal has the pools, the replaced ones with leases too', (t) => {
  const file = journal(t);
  const leases = new Leases(file, []);
  leases.setCidrs([cidr('10.0.0.0/29')]);
  give(leases, 'old');
  leases.setCidrs([cidr('10.1.0.0/29')]);
  for (let round = 0; round < 2000; round++) {
    give(leases, 'x');
    leases.release('x');
  }
  const lines = readFileSync(file, 'utf8').split('\n').length;
  assert.ok(lines < 1100, `${lines} lines`);
  const again = new Leases(file, [], (problem) => assert.fail(problem.message));
  assert.deepEqual(
    [again.cidrs, leases.cidrs].map((cidrs) => cidrs.map(({ text }) => text)),
    [['10.1.0.0/29'], ['10.1.0.0/29']],
  );
  assert.deepEqual(
    again.leftOver().map(({ text }) => text),
    ['10.0.0.2'],
  );
  assert.equal(give(again, 'y'), give(leases, 'y'));
});

test('an address that was given twice belongs to the later holder: the line that gave it back is lost', (t) => {
  const file = journal(t);
  const lease = (id: string, address: string) =>
    JSON.stringify({ lease: id, owner: `shop/${id}`, addresses: [address], details: {} });
  const lines = [lease('a', '10.0.0.2'), '{"release":"a', lease('b', '10.0.0.2'), lease('c', '10.0.0.3')];
  writeFileSync(file, `${lines.join('\n')}\n`);
  const problems: Problem[] = [];
  const leases = new Leases(file, [cidr('10.0.0.0/29')], (problem) => problems.push(problem));
  assert.deepEqual(
    problems.map(({ source }) => source?.line),
    [2],
  );
  assert.deepEqual(
    leases.list().map(({ id }) => id),
    ['b', 'c'],
  );
  // Whoever is rid of the former one does not free what the later one has.
  assert.equal(leases.release('a'), false);
  assert.equal(
    leases.allocate('d', 'shop/d', {}, { addresses: [address('10.0.0.2')], by: 'assigned' }).problem?.code,
    'address-taken',
  );
});

test('a lease whose details nobody could read is told and left out', (t) => {
  const file = journal(t);
  const lines = [
    '{"lease":"a","owner":"x","addresses":["10.0.0.2"]}',
    '{"lease":"b","owner":"y","addresses":["10.0.0.3"],"details":{"n":1}}',
  ];
  writeFileSync(file, `${lines.join('\n')}\n`);
  const problems: Problem[] = [];
  const isDetails = (value: unknown): value is { n: number } =>
    typeof value === 'object' && value !== null && 'n' in value;
  const leases = new Leases(file, [cidr('10.0.0.0/29')], (problem) => problems.push(problem), isDetails);
  assert.deepEqual(
    leases.list().map(({ id, details }) => [id, details.n]),
    [['b', 1]],
  );
  assert.match(problems[0]?.message ?? '', /details of its owner/);
});

test('a disk that is full costs the lease that it cuts off, and none before or after', (t) => {
  const file = journal(t);
  const leases = new Leases(file, [cidr('10.0.0.0/29')]);
  give(leases, 'a');
  renameSync(file, `${file}.real`);
  symlinkSync('/dev/full', file);
  const refused = leases.allocate('b', 'shop/b', {});
  assert.equal(refused.problem?.code, 'leases-write');
  assert.match(refused.problem?.message ?? '', /ENOSPC/);
  // As far as it got.
  rmSync(file);
  renameSync(`${file}.real`, file);
  appendFileSync(file, '{"lease":"b","own');
  give(leases, 'c');
  give(leases, 'd');
  const problems: Problem[] = [];
  const after = new Leases(file, [cidr('10.0.0.0/29')], (problem) => problems.push(problem));
  assert.deepEqual(
    after.list().map(({ id, addresses }) => [id, addresses[0]?.text]),
    [
      ['a', '10.0.0.2'],
      ['c', '10.0.0.3'],
      ['d', '10.0.0.4'],
    ],
  );
  assert.equal(problems.length, 1);
});

test('whatever the journal holds, its leases have no address twice and it can be written on', () => {
  const line = fc.oneof(
    fc.string({ maxLength: 40 }),
    fc.json(),
    fc
      .record({
        lease: fc.constantFrom('a', 'b', 'c'),
        owner: fc.string(),
        addresses: fc.array(fc.constantFrom('10.0.0.2', '10.0.0.3', 'fd00::2', 'x', '')),
        details: fc.jsonValue(),
      })
      .map((value) => JSON.stringify(value)),
    fc.record({ release: fc.constantFrom('a', 'b', 'c') }).map((value) => JSON.stringify(value)),
    fc
      .record({
        pool: fc.constantFrom('10.0.0.0/29', 'x', ''),
        cursor: fc.constantFrom('10.0.0.4', '', 'fd00::1'),
        released: fc.array(fc.constantFrom('10.0.0.2', 5, null)),
      })
      .map((value) => JSON.stringify(value)),
    fc
      .record({ cidrs: fc.array(fc.constantFrom('10.0.0.0/29', 'fd00::/112', 'x', 7)) })
      .map((value) => JSON.stringify(value)),
    fc.record({ version: fc.nat(), lease: fc.jsonValue() }).map((value) => JSON.stringify(value)),
  );
  const folder = mkdtempSync(join(tmpdir(), 'weft-leases-'));
  const file = join(folder, 'leases.jsonl');
  try {
    fc.assert(
      fc.property(fc.array(line, { maxLength: 12 }), fc.nat(30), fc.boolean(), (lines, cut, remembered) => {
        const text = lines.map((one) => `${one}\n`).join('');
        writeFileSync(file, text.slice(0, Math.max(0, text.length - cut)));
        const leases = new Leases(file, remembered ? [] : [cidr('10.0.0.0/29')]);
        leases.allocate('new', 'shop/new', {});
        const held = leases.list().flatMap(({ addresses }) => addresses.map(({ text }) => text));
        assert.equal(new Set(held).size, held.length);
        const again = new Leases(file, remembered ? [] : [cidr('10.0.0.0/29')]);
        assert.deepEqual(again.list(), leases.list());
      }),
      { numRuns: 300 },
    );
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
