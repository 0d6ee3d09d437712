/**
 * The statements a correct NetworkPolicy implementation passes, by the number and in the words of the project's list, as far as they concern
 * what is compiled. Each goes through compiler, encoder and decoder, over IPv4 and, where nothing in it is IPv4, over IPv6 too.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { WorldEvent } from '../../../src/model/event.js';
import type { Node } from '../../../src/model/node.js';
import type { NetworkPolicy } from '../../../src/model/policy.js';
import { isolatedDirections } from '../../../src/model/policy.js';
import { everything } from '../../../src/model/selector.js';
import { World } from '../../../src/model/world.js';
import { cidr } from '../../../src/net/cidr.js';
import {
  Answers,
  all,
  ask,
  block,
  expression,
  has,
  makeNamespace,
  makeNode,
  makePod,
  makePolicy,
  named,
  nothing,
  pods,
  port,
  rule,
  up,
} from '../../support/policy-world.js';

/** x/a, x/b, y/a, z/a, each dual-stack with its name as label `pod`; y has team=red, z team=blue. */
const cluster: readonly WorldEvent[] = [
  up.namespace(makeNamespace('x', { team: 'red' })),
  up.namespace(makeNamespace('y', { team: 'red' })),
  up.namespace(makeNamespace('z', { team: 'blue' })),
  up.pod(
    makePod('x/a', ['10.0.0.1', 'fd00::1'], { pod: 'a' }, { ports: ['http:80', 'serve:81', 'dns:53/UDP'] }),
  ),
  up.pod(makePod('x/b', ['10.0.0.2', 'fd00::2'], { pod: 'b' }, { ports: ['http:8080'] })),
  up.pod(makePod('y/a', ['10.0.1.1', 'fd00:1::1'], { pod: 'a' }, { ports: ['http:81'], nodeName: 'two' })),
  up.pod(makePod('z/a', ['10.0.2.1', 'fd00:2::1'], { pod: 'a', tier: 'db' }, { nodeName: 'two' })),
  up.node(makeNode('one', '192.168.0.1', 'fd99::1')),
  up.node(makeNode('two', '192.168.0.2', 'fd99::2')),
];

/** `from -> to what`, then whether it is allowed. */
type Row = readonly [from: string, to: string, what: string | number, allowed: boolean];

interface Case {
  readonly statement: string;
  readonly policies?: readonly NetworkPolicy[];
  readonly more?: readonly WorldEvent[];
  readonly options?: ConstructorParameters<typeof Answers>[1];
  readonly rows: readonly Row[];
}

const onA = has({ pod: 'a' });
const inX = (directions: Parameters<typeof makePolicy>[2], select = onA) =>
  makePolicy('x/p', select, directions);
const outside = '203.0.113.9';
/** The cluster's node of this name, with pod CIDRs. */
const withPods = (name: 'one' | 'two', ...blocks: readonly string[]): Node => ({
  ...makeNode(name, ...(name === 'one' ? ['192.168.0.1', 'fd99::1'] : ['192.168.0.2', 'fd99::2'])),
  podCidrs: blocks.map(cidr),
});
const outside6 = '2001:db8::9';

const cases: readonly Case[] = [
  {
    statement: '1 without a selecting policy everything is allowed in that direction',
    policies: [makePolicy('x/p', has({ pod: 'nobody' }), { ingress: [], egress: [] })],
    rows: [
      ['x/b', 'x/a', 80, true],
      ['x/a', outside, 443, true],
      [outside, 'x/a', 'ICMP', true],
    ],
  },
  {
    statement: '2 a policy isolates its own direction only',
    policies: [inX({ ingress: [] })],
    rows: [
      ['x/b', 'x/a', 80, false],
      ['x/a', 'x/b', 80, true],
    ],
  },
  {
    statement: '3 policies add up',
    policies: [
      makePolicy('x/p', onA, { ingress: [rule([pods(has({ pod: 'b' }))], [port(80)])] }),
      makePolicy('x/q', onA, { ingress: [rule([pods(undefined, has({ team: 'blue' }))], [port(81)])] }),
      makePolicy('x/r', onA, { ingress: [] }),
    ],
    rows: [
      ['x/b', 'x/a', 80, true],
      ['x/b', 'x/a', 81, false],
      ['z/a', 'x/a', 81, true],
      ['z/a', 'x/a', 80, false],
      ['y/a', 'x/a', 80, false],
    ],
  },
  {
    statement: "4 a connection needs the source's egress and the destination's ingress",
    policies: [
      makePolicy('x/in', onA, { ingress: [rule([pods(has({ pod: 'b' }))])] }),
      makePolicy('x/out', has({ pod: 'b' }), { egress: [rule([pods(onA)], [port(80)])] }),
    ],
    rows: [
      ['x/b', 'x/a', 80, true],
      ['x/b', 'x/a', 81, false],
      ['y/a', 'x/a', 80, false],
    ],
  },
  {
    statement: '7 egress isolated without rules denies all egress and leaves ingress alone',
    policies: [inX({ egress: [] })],
    rows: [
      ['x/a', 'x/b', 80, false],
      ['x/a', outside, 80, false],
      ['x/a', outside6, 80, false],
      ['x/b', 'x/a', 80, true],
    ],
  },
  {
    statement: '9 ingress isolated without rules denies all ingress',
    policies: [inX({ ingress: [] })],
    rows: [
      ['x/b', 'x/a', 80, false],
      [outside, 'x/a', 80, false],
      [outside6, 'x/a', 80, false],
    ],
  },
  {
    statement: '10 a rule without peers and ports allows all',
    policies: [inX({ ingress: [rule(null)] })],
    rows: [
      ['x/b', 'x/a', 80, true],
      [outside, 'x/a', '7/UDP', true],
      [outside6, 'x/a', 'ICMPv6', true],
      ['192.168.0.2', 'x/a', 80, true],
    ],
  },
  {
    statement: '11 a policy affects only pods of its own namespace',
    policies: [inX({ ingress: [] }, everything)],
    rows: [
      ['x/b', 'x/a', 80, false],
      ['x/b', 'y/a', 80, true],
    ],
  },
  {
    statement: '12 an empty podSelector selects every pod of the namespace',
    policies: [inX({ ingress: [] }, everything)],
    rows: [
      ['y/a', 'x/a', 80, false],
      ['y/a', 'x/b', 80, false],
    ],
  },
  {
    statement: '13 no peers means every peer, external addresses and nodes included',
    policies: [inX({ ingress: [rule(null, [port(80)])] })],
    rows: [
      ['z/a', 'x/a', 80, true],
      [outside, 'x/a', 80, true],
      ['192.168.0.2', 'x/a', 80, true],
      [outside, 'x/a', 81, false],
    ],
  },
  {
    statement: '14 no ports means every port and protocol',
    policies: [inX({ ingress: [rule([pods(everything)])] })],
    rows: [
      ['x/b', 'x/a', '1/SCTP', true],
      ['x/b', 'x/a', 'ICMP', true],
      ['y/a', 'x/a', 80, false],
    ],
  },
  {
    statement: '15 peers and ports are both needed, entries of each are alternatives',
    policies: [
      inX({
        ingress: [
          rule(
            [pods(has({ pod: 'b' })), pods(undefined, has({ team: 'blue' }))],
            [port(80), port(53, 'UDP')],
          ),
        ],
      }),
    ],
    rows: [
      ['x/b', 'x/a', 80, true],
      ['x/b', 'x/a', '53/UDP', true],
      ['z/a', 'x/a', 80, true],
      ['x/b', 'x/a', 53, false],
      ['y/a', 'x/a', 80, false],
    ],
  },
  {
    statement: "16 a podSelector alone means the policy's own namespace",
    policies: [inX({ ingress: [rule([pods(onA)])] }, everything)],
    rows: [
      ['x/a', 'x/b', 80, true],
      ['y/a', 'x/b', 80, false],
    ],
  },
  {
    statement: '17 a namespaceSelector alone means all pods there',
    policies: [inX({ ingress: [rule([pods(undefined, has({ team: 'red' }))])] })],
    rows: [
      ['y/a', 'x/a', 80, true],
      ['x/b', 'x/a', 80, true],
      ['z/a', 'x/a', 80, false],
    ],
  },
  {
    statement: '18 both selectors in one entry must hold, separate entries are alternatives',
    policies: [
      inX({ ingress: [rule([pods(has({ tier: 'db' }), has({ team: 'blue' }))])] }),
      makePolicy('x/q', has({ pod: 'b' }), {
        ingress: [rule([pods(has({ tier: 'db' })), pods(undefined, has({ team: 'red' }))])],
      }),
    ],
    rows: [
      ['z/a', 'x/a', 80, true],
      ['y/a', 'x/a', 80, false],
      ['y/a', 'x/b', 80, true],
      ['z/a', 'x/b', 80, false],
    ],
  },
  {
    statement: '19 {} matches everything',
    policies: [inX({ ingress: [rule([pods(everything, everything)])] })],
    rows: [
      ['z/a', 'x/a', 80, true],
      [outside, 'x/a', 80, false],
    ],
  },
  {
    statement: '20 an empty namespaceSelector matches pods only, never external addresses',
    policies: [
      inX({ ingress: [rule([pods(undefined, everything)])], egress: [rule([pods(undefined, everything)])] }),
    ],
    rows: [
      ['z/a', 'x/a', 80, true],
      ['x/a', 'z/a', 80, true],
      [outside, 'x/a', 80, false],
      ['x/a', outside6, 80, false],
      ['192.168.0.2', 'x/a', 80, false],
    ],
  },
  {
    statement: '21 NotIn and DoesNotExist match objects that lack the key',
    policies: [
      inX({ ingress: [rule([pods(expression('tier', 'NotIn', 'web'), everything)])] }),
      makePolicy('x/q', has({ pod: 'b' }), {
        ingress: [rule([pods(expression('tier', 'DoesNotExist'), everything)])],
      }),
    ],
    rows: [
      ['x/b', 'x/a', 80, true],
      ['z/a', 'x/a', 80, true],
      ['x/a', 'x/b', 80, true],
      ['z/a', 'x/b', 80, false],
    ],
  },
  {
    statement: '22 kubernetes.io/metadata.name is a label of every namespace',
    policies: [inX({ ingress: [rule([pods(undefined, has({ 'kubernetes.io/metadata.name': 'y' }))])] })],
    rows: [
      ['y/a', 'x/a', 80, true],
      ['z/a', 'x/a', 80, false],
    ],
  },
  {
    statement: '23 and 25 a peer that could not be read matches nothing, and the policy still isolates',
    policies: [inX({ ingress: [rule([nothing])] })],
    rows: [
      ['x/b', 'x/a', 80, false],
      [outside, 'x/a', 80, false],
    ],
  },
  {
    statement: '26 except subtracts within its own block only',
    policies: [
      inX({
        egress: [
          rule([block('10.0.0.0/8', '10.0.1.0/24', '10.9.0.0/16')], [port(80)]),
          rule([block('10.9.9.0/24')], [port(80)]),
          rule([pods(onA, has({ team: 'red' }))], [port(81)]),
        ],
      }),
    ],
    rows: [
      ['x/a', '10.8.0.1', 80, true],
      ['x/a', '10.9.0.1', 80, false],
      ['x/a', '10.9.9.1', 80, true],
      ['x/a', '10.9.10.1', 80, false],
      ['x/a', 'y/a', 80, false],
      ['x/a', 'y/a', 81, true],
      ['x/a', '11.0.0.1', 80, false],
    ],
  },
  {
    statement: '26 an exception that covers its block leaves nothing of it, and one outside changes nothing',
    policies: [
      inX({
        egress: [rule([block('10.5.0.0/16', '10.0.0.0/8')]), rule([block('10.6.0.0/16', '10.7.0.0/16')])],
      }),
    ],
    rows: [
      ['x/a', '10.5.0.1', 80, false],
      ['x/a', '10.6.0.1', 80, true],
      ['x/a', '10.7.0.1', 80, false],
    ],
  },
  {
    statement: '27 an IPv4 block never matches IPv6',
    policies: [inX({ egress: [rule([block('0.0.0.0/0')])], ingress: [rule([block('::/0')])] })],
    rows: [
      ['x/a', outside, 80, true],
      ['x/a', outside6, 80, false],
      [outside, 'x/a', 80, false],
      [outside6, 'x/a', 80, true],
    ],
  },
  {
    statement: '28 host bits and IPv4-mapped blocks mean the normalised block',
    policies: [inX({ egress: [rule([block('10.4.5.6/16')]), rule([block('::ffff:10.7.0.0/112')])] })],
    rows: [
      ['x/a', '10.4.0.1', 80, true],
      ['x/a', '10.7.200.1', 80, true],
      ['x/a', '10.8.0.1', 80, false],
    ],
  },
  {
    statement: '29 a block matches by address, pods and nodes included',
    policies: [
      inX({ ingress: [rule([block('10.0.1.1/32')]), rule([block('192.168.0.0/24', '192.168.0.3/32')])] }),
    ],
    more: [up.node(makeNode('three', '192.168.0.3'))],
    rows: [
      ['y/a', 'x/a', 80, true],
      ['z/a', 'x/a', 80, false],
      ['192.168.0.2', 'x/a', 80, true],
      ['192.168.0.3', 'x/a', 80, false],
    ],
  },
  {
    statement: '34 a protocol without a port means all its ports',
    policies: [inX({ ingress: [rule(null, [all('UDP')])] })],
    rows: [
      ['x/b', 'x/a', '1/UDP', true],
      ['x/b', 'x/a', '65535/UDP', true],
      ['x/b', 'x/a', 1, false],
      ['x/b', 'x/a', 'ICMP', false],
    ],
  },
  {
    statement: '35 port..endPort is inclusive, equal ends are one port',
    policies: [inX({ ingress: [rule(null, [port(80, 'TCP', 90), port(100, 'TCP', 100)])] })],
    rows: [
      ['x/b', 'x/a', 79, false],
      ['x/b', 'x/a', 80, true],
      ['x/b', 'x/a', 90, true],
      ['x/b', 'x/a', 91, false],
      ['x/b', 'x/a', 100, true],
    ],
  },
  {
    statement: '37 and 45 ports that cannot be honoured allow nothing, and the policy still isolates',
    policies: [inX({ ingress: [rule(null, [nothing])] })],
    rows: [
      ['x/b', 'x/a', 80, false],
      ['x/b', 'x/a', 'ICMP', false],
    ],
  },
  {
    statement: '37 beside a port that can be honoured only that one counts',
    policies: [inX({ ingress: [rule(null, [nothing, port(80)])] })],
    rows: [
      ['x/b', 'x/a', 80, true],
      ['x/b', 'x/a', 81, false],
    ],
  },
  {
    statement: "39 a named port is the destination's, for ingress",
    policies: [inX({ ingress: [rule(null, [named('http')])] }, everything)],
    rows: [
      ['z/a', 'x/a', 80, true],
      ['z/a', 'x/a', 8080, false],
      ['z/a', 'x/b', 8080, true],
      [outside, 'x/b', 8080, true],
      ['z/a', 'x/b', 80, false],
    ],
  },
  {
    statement: "39 and 40 a named port is each destination's own number, for egress",
    policies: [inX({ egress: [rule(null, [named('http')])] })],
    rows: [
      ['x/a', 'x/b', 8080, true],
      ['x/a', 'x/b', 81, false],
      ['x/a', 'y/a', 81, true],
      ['x/a', 'y/a', 8080, false],
    ],
  },
  {
    statement: '41 name and protocol must match',
    policies: [inX({ ingress: [rule(null, [named('dns')]), rule(null, [named('http', 'UDP')])] })],
    rows: [
      ['x/b', 'x/a', 53, false],
      ['x/b', 'x/a', '53/UDP', false],
      ['x/b', 'x/a', '80/UDP', false],
    ],
  },
  {
    statement: '42 resolution never looks at the source pod',
    policies: [inX({ ingress: [rule(null, [named('only-b')])] })],
    more: [up.pod(makePod('x/b', ['10.0.0.2', 'fd00::2'], { pod: 'b' }, { ports: ['only-b:7000'] }))],
    rows: [['x/b', 'x/a', 7000, false]],
  },
  {
    statement: '44 pods that lack the name do not match, and external addresses never do',
    policies: [inX({ egress: [rule(null, [named('http')]), rule([block('0.0.0.0/0')], [named('http')])] })],
    rows: [
      ['x/a', 'z/a', 80, false],
      ['x/a', outside, 80, false],
      ['x/a', outside, 8080, false],
    ],
  },
  {
    statement:
      '29 and 39 an egress rule with a block and a named port means pods in the block that have the name',
    policies: [inX({ egress: [rule([block('10.0.0.0/23', '10.0.1.0/24')], [named('http')])] })],
    rows: [
      ['x/a', 'x/b', 8080, true],
      ['x/a', 'x/b', 80, false],
      ['x/a', 'y/a', 81, false],
      ['x/a', '10.0.0.77', 8080, false],
    ],
  },
  {
    statement: '46 and 48 the own node may always connect in, other nodes may not',
    policies: [inX({ ingress: [] })],
    rows: [
      ['192.168.0.1', 'x/a', 80, true],
      ['fd99::1', 'x/a', 80, true],
      ['192.168.0.2', 'x/a', 80, false],
      ['fd99::2', 'x/a', 80, false],
    ],
  },
  {
    statement:
      '46 what a host masquerades is neither the node nor a pod, and in no ipBlock: only a rule without from admits it',
    policies: [
      inX({
        ingress: [
          rule([block('0.0.0.0/0'), block('::/0'), pods(everything, everything)], [port(80)]),
          rule(null, [port(81)]),
        ],
      }),
    ],
    more: [up.node(withPods('one', '10.0.4.0/24', 'fd00:4::/64')), up.node(withPods('two', '10.0.5.0/24'))],
    rows: [
      ['10.0.4.1', 'x/a', 80, false],
      ['fd00:4::1', 'x/a', 80, false],
      ['10.0.5.1', 'x/a', 80, false],
      ['10.0.4.1', 'x/a', 81, true],
      ['fd00:4::1', 'x/a', 81, true],
      ['10.0.5.1', 'x/a', 81, true],
      ['10.0.4.1', 'x/b', 80, true],
      // Everything else around it is judged by its own address.
      ['10.0.4.2', 'x/a', 80, true],
      ['192.168.0.1', 'x/a', 9, true],
    ],
  },
  {
    statement:
      "47 a host's address in its pod CIDR is its node's for what a pod sends there, and another node's is not",
    policies: [inX({ egress: [rule([block('0.0.0.0/0')], [port(80)])] })],
    more: [up.node(withPods('one', '10.0.4.0/24')), up.node(withPods('two', '10.0.5.0/24'))],
    rows: [
      ['x/a', '10.0.4.1', 9, true],
      ['x/a', '10.0.5.1', 80, false],
      ['x/a', '10.0.5.2', 80, true],
    ],
  },
  {
    statement: '46 a pod CIDR too small for a host address has none, and no pod gets the one that is there',
    policies: [inX({ ingress: [rule([pods(has({ pod: 'b' }))])] })],
    more: [
      up.node(withPods('one', '10.0.4.4/31', '10.0.4.8/30')),
      up.pod(makePod('x/small', ['10.0.4.5'], { pod: 'b' })),
      up.pod(makePod('x/host', ['10.0.4.9'], { pod: 'b' })),
    ],
    rows: [
      ['10.0.4.5', 'x/a', 80, true],
      ['10.0.4.9', 'x/a', 80, false],
    ],
  },
  {
    statement: '47 a pod may always reach its own node',
    policies: [inX({ egress: [] })],
    rows: [
      ['x/a', '192.168.0.1', 6443, true],
      ['x/a', '192.168.0.2', 6443, false],
    ],
  },
  {
    statement: '47 unless ownNodeEgress is judge',
    policies: [inX({ egress: [rule([block('192.168.0.1/32')], [port(10_250)])] })],
    options: { allLocal: true, settings: { ownNodeEgress: 'judge' } },
    rows: [
      ['x/a', '192.168.0.1', 10_250, true],
      ['x/a', '192.168.0.1', 6443, false],
    ],
  },
  {
    statement: "49 and 50 selectors ignore hostNetwork pods and never mean their node's address",
    policies: [inX({ ingress: [rule([pods(has({ role: 'host' }), everything)])] })],
    more: [
      up.pod(makePod('y/host', ['192.168.0.2'], { role: 'host' }, { hostNetwork: true, nodeName: 'two' })),
      up.policy(makePolicy('y/deny', everything, { ingress: [], egress: [] })),
    ],
    rows: [
      ['192.168.0.2', 'x/a', 80, false],
      ['x/b', '192.168.0.2', 80, true],
      ['192.168.0.2', outside, 80, true],
    ],
  },
  {
    statement: "50 a pod that reports its node's address does not get it",
    policies: [inX({ ingress: [rule([pods(has({ role: 'liar' }), everything)])] })],
    more: [up.pod(makePod('y/liar', ['192.168.0.2'], { role: 'liar' }, { nodeName: 'two' }))],
    rows: [['192.168.0.2', 'x/a', 80, false]],
  },
  {
    statement: '51 a pod may always talk to itself',
    policies: [inX({ ingress: [], egress: [] })],
    rows: [['x/a', 'x/a', 80, true]],
  },
  {
    statement: '58 pods without an address have no rules and do no harm',
    policies: [inX({ ingress: [rule([pods(has({ pod: 'ghost' }))])] }, everything)],
    more: [up.pod(makePod('x/ghost', '', { pod: 'ghost' }))],
    rows: [['x/b', 'x/a', 80, false]],
  },
  {
    statement: '59 a finished pod leaves every set and its address may be another pod',
    policies: [inX({ ingress: [rule([pods(has({ pod: 'job' }))])] })],
    more: [
      up.pod(makePod('x/job', '10.0.0.9', { pod: 'job' }, { phase: 'Succeeded' })),
      up.pod(makePod('x/new', '10.0.0.9', { pod: 'new' })),
      up.pod(makePod('x/failed', '10.0.0.8', { pod: 'job' }, { phase: 'Failed' })),
    ],
    rows: [
      ['10.0.0.9', 'x/a', 80, false],
      ['10.0.0.8', 'x/a', 80, false],
    ],
  },
  {
    statement: '60 of two pods with one address the live one has it',
    policies: [inX({ ingress: [rule([pods(has({ pod: 'live' }))])] })],
    more: [
      up.pod(makePod('x/a-live', '10.0.0.9', { pod: 'live' }, { created: '2026-01-01T00:00:00Z' })),
      up.pod(
        makePod(
          'x/b-dead',
          '10.0.0.9',
          { pod: 'dead' },
          { terminating: true, created: '2026-01-02T00:00:00Z' },
        ),
      ),
    ],
    rows: [['10.0.0.9', 'x/a', 80, true]],
  },
  {
    statement: '61 a terminating pod stays enforced and stays in the sets',
    policies: [inX({ ingress: [rule([pods(has({ pod: 'b' }))])] })],
    more: [up.pod(makePod('x/b', ['10.0.0.2', 'fd00::2'], { pod: 'b' }, { terminating: true }))],
    rows: [
      ['x/b', 'x/a', 80, true],
      ['y/a', 'x/a', 80, false],
    ],
  },
  {
    statement: '65 every address of a dual-stack pod is enforced',
    policies: [inX({ ingress: [rule([pods(has({ pod: 'b' }))])] })],
    rows: [
      ['fd00::2', 'fd00::1', 80, true],
      ['fd00:1::1', 'fd00::1', 80, false],
      ['10.0.1.1', '10.0.0.1', 80, false],
    ],
  },
  {
    statement: '66 deny-all covers TCP, UDP, SCTP and ICMP',
    policies: [inX({ ingress: [], egress: [] })],
    rows: [
      ['x/b', 'x/a', 80, false],
      ['x/b', 'x/a', '53/UDP', false],
      ['x/b', 'x/a', '1/SCTP', false],
      ['x/b', 'x/a', 'ICMP', false],
      ['x/a', outside6, 'ICMPv6', false],
    ],
  },
  {
    statement: '67 a rule limited to ports does not admit ICMP',
    policies: [inX({ ingress: [rule(null, [all('TCP'), all('UDP'), all('SCTP')])] })],
    rows: [
      ['x/b', 'x/a', 80, true],
      ['x/b', 'x/a', 'ICMP', false],
    ],
  },
];

function world(of: Case): Answers {
  const events = [...cluster, ...(of.policies ?? []).map(up.policy), ...(of.more ?? [])];
  return of.options === undefined ? ask(events) : new Answers(World.of(events), of.options);
}

for (const of of cases) {
  test(of.statement, () => {
    const answers = world(of);
    for (const [from, to, what, allowed] of of.rows) {
      assert.equal(answers.allowed(from, to, what), allowed, `${from} -> ${to} ${what}`);
    }
  });
}

test('the pod-to-pod statements hold over IPv6 as they do over IPv4', () => {
  let compared = 0;
  for (const of of cases) {
    const namesIPv4 = JSON.stringify(of.policies ?? []).includes('"family":4');
    if (namesIPv4) continue;
    const answers = world(of);
    for (const [from, to, what, allowed] of of.rows) {
      if (answers.addressOf(from, 6)?.family !== 6 || answers.addressOf(to, 6)?.family !== 6) continue;
      assert.equal(answers.allowed(from, to, what, 6), allowed, `${of.statement}: ${from} -> ${to} ${what}`);
      compared++;
    }
  }
  assert.ok(compared > 60, `only ${compared} rows were compared`);
});

test('6 and 8 without policyTypes a policy isolates ingress, and egress where it has egress rules', () => {
  assert.deepEqual(isolatedDirections(undefined, false), { ingress: true, egress: false });
  assert.deepEqual(isolatedDirections(undefined, true), { ingress: true, egress: true });
  assert.deepEqual(isolatedDirections([], true), { ingress: true, egress: true });
  assert.deepEqual(isolatedDirections(['Egress'], false), { ingress: false, egress: true });
  assert.deepEqual(isolatedDirections(['Ingress'], true), { ingress: true, egress: false });
});

test('a verdict names the first rule, in the order of policies and rules, that allows', () => {
  const answers = ask(
    cluster,
    up.policy(makePolicy('x/b-second', onA, { ingress: [rule(null)] })),
    up.policy(
      makePolicy('x/a-first', onA, {
        ingress: [
          rule([pods(has({ pod: 'nobody' }))]),
          rule([pods(has({ pod: 'b' }))], [port(80, 'TCP', 90)]),
          rule([block('10.0.0.0/24')], [port(85, 'TCP', 99)]),
        ],
      }),
    ),
  );
  const by = (from: string, what: number | string) => answers.decidedBy('ingress', from, 'x/a', what);
  assert.equal(by('x/b', 80), 'x/a-first ingress[1]');
  assert.equal(by('x/b', 87), 'x/a-first ingress[1]');
  assert.equal(by('x/b', 95), 'x/a-first ingress[2]');
  assert.equal(by('x/b', 100), 'x/b-second ingress[0]');
  assert.equal(by('z/a', 80), 'x/b-second ingress[0]');
  assert.equal(by('x/b', 'ICMP'), 'x/b-second ingress[0]');
});

test('the image names the policies that isolate a pod', () => {
  const answers = ask(
    cluster,
    up.policy(makePolicy('x/q', everything, { ingress: [] })),
    up.policy(makePolicy('x/p', onA, { ingress: [], egress: [] })),
  );
  const program = answers.image.classify(answers.addressOf('x/a', 4)!).program!;
  assert.deepEqual(answers.image.isolating(program, 'ingress'), ['x/p', 'x/q']);
  assert.deepEqual(answers.image.isolating(program, 'egress'), ['x/p']);
});
