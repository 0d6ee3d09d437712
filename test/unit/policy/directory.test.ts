/** Who has which address, asked of a Directory that follows a World, and what following costs. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Kind, Objects } from '../../../src/model/event.js';
import { hostAddresses } from '../../../src/model/node.js';
import { World } from '../../../src/model/world.js';
import { address } from '../../../src/net/address.js';
import { cidr } from '../../../src/net/cidr.js';
import { Directory } from '../../../src/policy/directory.js';
import { gone, makeNode, makePod, makeService, up } from '../../support/policy-world.js';

const at = (directory: Directory, text: string) => {
  const holder = directory.follow().holderOf(text);
  return holder === undefined ? 'nobody' : `${holder.kind} ${holder.name}`;
};

describe('the one who has an address', () => {
  const one = { ...makeNode('one', '192.0.2.1'), podCidrs: [cidr('10.0.0.0/24')] };
  const [masquerade] = hostAddresses(one);
  const steps: readonly (readonly [
    what: string,
    events: Parameters<World['apply']>[0][],
    text: string,
    who: string,
  ])[] = [
    ['nobody yet', [], '10.0.0.5', 'nobody'],
    ['a Service', [up.service(makeService('x/s', ['10.0.0.5'], {}))], '10.0.0.5', 'service x/s'],
    [
      'a pod before a Service',
      [up.pod(makePod('x/a', '10.0.0.5', {}, { created: '1' }))],
      '10.0.0.5',
      'pod x/a',
    ],
    [
      'the pod that came later',
      [up.pod(makePod('x/b', '10.0.0.5', {}, { created: '2' }))],
      '10.0.0.5',
      'pod x/b',
    ],
    [
      'not one that is being deleted',
      [up.pod(makePod('x/b', '10.0.0.5', {}, { created: '2', terminating: true }))],
      '10.0.0.5',
      'pod x/a',
    ],
    [
      'nor one that has finished',
      [up.pod(makePod('x/a', '10.0.0.5', {}, { created: '1', phase: 'Failed' }))],
      '10.0.0.5',
      'pod x/b',
    ],
    ['the Service again', [gone('pod', 'x/a'), gone('pod', 'x/b')], '10.0.0.5', 'service x/s'],
    [
      'a node by the word of its pods',
      [up.pod(makePod('x/p', '10.0.0.6', {}, { hostAddresses: [address('10.0.0.5')], nodeName: 'two' }))],
      '10.0.0.5',
      'node two',
    ],
    ['and no more when they are gone', [gone('pod', 'x/p')], '10.0.0.5', 'service x/s'],
    ['a node by its own word', [up.node(one)], '192.0.2.1', 'node one'],
    ['what its host masquerades with', [], masquerade!.text, 'forwarded one'],
    ['a pod has no address of a node', [up.pod(makePod('x/c', '192.0.2.1'))], '192.0.2.1', 'node one'],
    ['unless the node is gone', [gone('node', 'one')], '192.0.2.1', 'pod x/c'],
  ];
  const world = new World();
  const directory = new Directory(world);
  for (const [what, events, text, who] of steps)
    test(what, () => {
      for (const event of events) world.apply(event);
      assert.equal(at(directory, text), who);
      assert.equal(at(new Directory(world), text), who, 'as one that has just looked');
    });
});

/** Counts objects that somebody has looked at. */
class CountingWorld extends World {
  looked = 0;
  override get<K extends Kind>(kind: K, key: string): Objects[K] | undefined {
    this.looked++;
    return super.get(kind, key);
  }
  override all<K extends Kind>(kind: K): ReadonlyMap<string, Objects[K]> {
    const all = super.all(kind);
    this.looked += all.size;
    return all;
  }
}

const podNumber = (number: number, labels = {}) =>
  makePod(`ns-${number % 7}/pod-${number}`, `10.1.${number >> 8}.${number & 255}`, labels, {
    hostAddresses: [address(`192.0.2.${number % 5}`)],
    nodeName: `node-${number % 5}`,
  });

test('a change costs what changed, and a question nothing, however many objects there are', () => {
  const world = new CountingWorld();
  for (let i = 0; i < 2000; i++) world.put('pod', podNumber(i));
  const directory = new Directory(world);
  for (let i = 0; i < 50; i++) {
    const before = world.looked;
    world.put('pod', podNumber(i, { turn: 'next' }));
    assert.equal(at(directory, '10.1.0.7'), 'pod ns-0/pod-7');
    assert.equal(at(directory, '192.0.2.3'), 'node node-3');
    // Looked up once by its key, and nothing else.
    assert.equal(world.looked - before, 1);
  }
});

test('histories that overran the journal, and those that did not, lead to the same answers', () => {
  let seed = 7;
  const random = (below: number) => {
    seed = (seed * 1_103_515_245 + 12_345) & 0x7fffffff;
    return (seed >> 8) % below;
  };
  const world = new World();
  const directory = new Directory(world);
  const texts = Array.from({ length: 12 }, (_, i) => `10.0.0.${i}`);
  for (let round = 0; round < 300; round++) {
    // Now and then far more than the journal holds.
    const changes = round === 150 ? 70_000 : random(4);
    for (let i = 0; i < changes; i++) {
      const name = `x/p${random(8)}`;
      const node = `n${random(3)}`;
      switch (random(6)) {
        case 0:
          world.apply(gone('pod', name));
          break;
        case 1:
          world.apply(random(2) === 0 ? gone('node', node) : up.node(makeNode(node, texts[random(12)]!)));
          break;
        case 2:
          world.apply(
            random(2) === 0
              ? gone('service', 'x/s')
              : up.service(makeService('x/s', [texts[random(12)]!], {})),
          );
          break;
        default:
          world.apply(
            up.pod(
              makePod(
                name,
                texts[random(12)]!,
                {},
                {
                  nodeName: node,
                  hostNetwork: random(5) === 0,
                  phase: random(6) === 0 ? 'Succeeded' : 'Running',
                  hostAddresses: random(3) === 0 ? [address(texts[random(12)]!)] : [],
                },
              ),
            ),
          );
      }
    }
    const fresh = new Directory(world);
    for (const text of texts) assert.equal(at(directory, text), at(fresh, text), `round ${round}: ${text}`);
    for (const name of ['n0', 'n1', 'n2'])
      assert.deepEqual(directory.nodeAddresses(name), fresh.nodeAddresses(name), `round ${round}: ${name}`);
    const names = (of: Directory) =>
      of
        .podsIn('x')
        .map((pod) => pod.name)
        .sort();
    assert.deepEqual(names(directory), names(fresh));
  }
});
