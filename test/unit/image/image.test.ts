import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeBuckets } from '../../../src/image/buckets.js';
import { Compiler, compile } from '../../../src/image/compile.js';
import { decode } from '../../../src/image/decode.js';
import { checksum } from '../../../src/image/hash.js';
import {
  cacheLine,
  header,
  magic,
  maxBucket,
  pageAlignment,
  sectionEntry,
  sectionNames,
  sections,
} from '../../../src/image/layout.js';
import { everything } from '../../../src/model/selector.js';
import { World } from '../../../src/model/world.js';
import { address } from '../../../src/net/address.js';
import {
  block,
  has,
  makeNode,
  makePod,
  makePolicy,
  makeService,
  pods,
  port,
  rule,
  up,
} from '../../support/policy-world.js';

const events = [
  up.node(makeNode('one', '192.168.0.1')),
  up.pod(makePod('x/a', ['10.0.0.1', 'fd00::1'], { app: 'a' }, { ports: ['http:8080'] })),
  up.pod(makePod('x/b', '10.0.0.2', { app: 'b' })),
  up.policy({
    ...makePolicy('x/p', everything, {
      ingress: [
        { ...rule([pods(has({ app: 'b' }))], [port(80)]), source: { file: 'p.yaml', line: 7, column: 3 } },
        rule([block('10.0.0.0/8', '10.0.1.0/24')]),
      ],
    }),
  }),
  up.service(
    makeService(
      'x/s',
      ['10.96.0.1'],
      { app: 'a' },
      {
        type: 'NodePort',
        affinitySeconds: 60,
        ports: [{ name: 'web', protocol: 'TCP', port: 80, targetPort: 'http', nodePort: 30_080 }],
      },
    ),
  ),
];

const compiled = compile(World.of(events), {
  node: 'one',
  settings: { denyAction: { egress: 'reject', ingress: 'drop' } },
});

function decoded(bytes: Uint8Array) {
  const result = decode(bytes);
  assert.ok('image' in result, JSON.stringify(result));
  return result.image;
}

test('the same world makes the same bytes', () => {
  const again = compile(World.of([...events].reverse()), {
    node: 'one',
    settings: { denyAction: { egress: 'reject', ingress: 'drop' } },
  });
  assert.deepEqual(again.image, compiled.image);
});

test('an image begins with its magic, and sections are where the layout puts them', () => {
  assert.deepEqual([...compiled.image.subarray(0, 8)], [...magic]);
  const view = new DataView(compiled.image.buffer);
  let end = header.size + sectionNames.length * sectionEntry.size;
  for (const [i, name] of sectionNames.entries()) {
    const at = header.size + i * sectionEntry.size;
    const [offset, size] = [view.getUint32(at, true), view.getUint32(at + 4, true)];
    assert.equal(offset % (size >= pageAlignment ? pageAlignment : cacheLine), 0, name);
    assert.equal(size % sections[name].size, 0, name);
    assert.ok(offset >= end, name);
    end = offset + size;
  }
  assert.equal(end, compiled.image.length);
});

test('a section of 64 KB or more starts on a 64 KB boundary', () => {
  const world = World.of(events);
  for (let i = 0; i < 4000; i++) world.apply(up.pod(makePod(`x/many-${i}`, `10.7.${i >> 8}.${i & 255}`)));
  const { image } = compile(world, { node: 'one' });
  const view = new DataView(image.buffer);
  const at = header.size + sectionNames.indexOf('addresses') * sectionEntry.size;
  assert.ok(view.getUint32(at + 4, true) >= pageAlignment);
  assert.equal(view.getUint32(at, true) % pageAlignment, 0);
  assert.equal(decoded(image).classify(address('10.7.3.3')).pod, true);
});

test('names, positions and settings survive', () => {
  const image = decoded(compiled.image);
  assert.deepEqual(image.settings, {
    ownNodeEgress: 'allow',
    denyAction: { egress: 'reject', ingress: 'drop' },
  });
  assert.deepEqual(image.rule(0), {
    namespace: 'x',
    policy: 'p',
    direction: 'ingress',
    index: 0,
    file: 'p.yaml',
    line: 7,
    column: 3,
  });
});

test('addresses are known for what they are', () => {
  const image = decoded(compiled.image);
  const kinds = (text: string) => {
    const { pod, local, ownNode, otherNode, service } = image.classify(address(text));
    return { pod, local, ownNode, otherNode, service };
  };
  const nothing = { pod: false, local: false, ownNode: false, otherNode: false, service: false };
  assert.deepEqual(kinds('10.0.0.1'), { ...nothing, pod: true, local: true });
  assert.deepEqual(kinds('192.168.0.1'), { ...nothing, ownNode: true });
  assert.deepEqual(kinds('10.96.0.1'), { ...nothing, service: true });
  assert.deepEqual(kinds('8.8.8.8'), nothing);
});

test('services answer on their own address and on every node', () => {
  const image = decoded(compiled.image);
  const service = image.service(6, address('10.96.0.1'), 80);
  assert.equal(service?.name, 'x/s:web/TCP/4');
  assert.equal(service?.affinitySeconds, 60);
  assert.deepEqual(
    service?.backends.map((to) => `${to.address.text} ${to.port}`),
    ['10.0.0.1 8080'],
  );
  assert.equal(image.service(6, address('192.168.0.1'), 30_080)?.id, service?.id);
  assert.equal(image.service(17, address('10.96.0.1'), 80), undefined);
});

test('a damaged image is refused by name', () => {
  const spoiled = (change: (bytes: Uint8Array) => void) => {
    const bytes = compiled.image.slice();
    change(bytes);
    const result = decode(bytes);
    return 'problem' in result ? result.problem.code : 'read';
  };
  assert.equal(
    spoiled((bytes) => bytes.fill(0, 0, 1)),
    'image-magic',
  );
  assert.equal(
    spoiled((bytes) => bytes.fill(9, 8, 9)),
    'image-version',
  );
  assert.equal(
    spoiled((bytes) => bytes.fill(9, bytes.length - 1)),
    'image-checksum',
  );
  assert.equal(
    spoiled((bytes) => bytes.fill(9, header.at.address_seed, header.at.address_seed + 1)),
    'image-checksum',
  );
  assert.equal('problem' in decode(compiled.image.subarray(0, 100)), true);
  assert.equal('problem' in decode(compiled.image.subarray(0, compiled.image.length - 1)), true);
});

test('an image that was handed out does not change under the next update', () => {
  const world = World.of(events);
  const compiler = new Compiler(world, { node: 'one' });
  const first = compiler.update().image;
  const kept = first.slice();
  world.apply(up.pod(makePod('x/c', '10.0.0.3')));
  compiler.update();
  assert.deepEqual(first, kept);
});

test('an image is written into the memory that it is given where it fits there, whatever was in it', () => {
  const world = World.of(events);
  const compiler = new Compiler(world, { node: 'one' });
  const { length } = compiler.update().image;
  for (const [room, fits] of [
    [length, true],
    [length + 1000, true],
    [length - 1, false],
  ] as const) {
    const given = new Uint8Array(room).fill(0xff);
    const { image } = compiler.update(given);
    assert.deepEqual(image, compile(world, { node: 'one' }).image);
    assert.equal(image.buffer === given.buffer, fits);
  }
  // Sections that grow and shrink leave nothing behind in it.
  let room = new Uint8Array(4 * length).fill(0xff);
  for (const change of [
    up.pod(makePod('x/c', ['10.0.0.3', 'fd00::3'], { app: 'b' })),
    up.policy(
      makePolicy('x/p', everything, {
        ingress: [rule([block('10.0.0.2/32'), pods(everything)], [port(81)])],
      }),
    ),
    up.policy(makePolicy('x/p', everything, { ingress: [] })),
    up.pod(makePod('x/c', '10.0.0.4', {})),
  ]) {
    world.apply(change);
    const { image } = compiler.update(room);
    assert.deepEqual(image, compile(world, { node: 'one' }).image);
    room = new Uint8Array(image.buffer);
  }
});

test('the checksum sees every byte and the length', () => {
  const bytes = Uint8Array.from({ length: 37 }, (_, i) => i);
  const seen = new Set([checksum(bytes).join()]);
  for (let i = 0; i < bytes.length; i++) {
    const changed = bytes.slice();
    changed[i]! ^= 0x10;
    seen.add(checksum(changed).join());
  }
  for (let length = 0; length < bytes.length; length++) seen.add(checksum(bytes.subarray(0, length)).join());
  assert.equal(seen.size, 1 + 37 + 37);
  const shifted = new Uint8Array(38);
  shifted.set(bytes, 1);
  assert.deepEqual(checksum(shifted.subarray(1)), checksum(bytes), 'unaligned bytes have the same sum');
});

test('buckets cover all elements, and do not depend on the order in which they are given', () => {
  const keys = Array.from({ length: 500 }, (_, i) => (i * 2_654_435_761) >>> 0);
  const layout = (list: readonly number[]) => {
    const { starts, order } = makeBuckets(
      list.length,
      (i, seed) => (list[i]! ^ seed) >>> 3,
      (a, b) => list[a]! < list[b]!,
    );
    return { starts, keys: Array.from(order, (i) => list[i]!) };
  };
  const forward = layout(keys);
  assert.deepEqual(forward, layout([...keys].reverse()));
  assert.equal(forward.starts.at(-1), keys.length);
  assert.deepEqual([...forward.keys].sort(), [...keys].sort());
});

test('a seed that fills one bucket is passed over', () => {
  const { seed, starts } = makeBuckets(
    200,
    (i, under) => (under < 3 ? 7 : Math.imul(i + 1, 0x9e3779b1) >>> 5),
    (a, b) => a < b,
  );
  assert.equal(seed, 3);
  for (let b = 0; b + 1 < starts.length; b++) assert.ok(starts[b + 1]! - starts[b]! <= maxBucket);
});
