/**
 * Makes `native/generated/policy_fixture.h`: the image of one small world with a bit of everything, and the answers that the TypeScript decoder
 * reads from it. The native tests load the bytes and have to agree, on every machine they run on.
 */
import { compile } from '../../src/image/compile.js';
import { type DecodedImage, decode } from '../../src/image/decode.js';
import { addressFlags } from '../../src/image/layout.js';
import { labelsOf } from '../../src/model/labels.js';
import type { Pod } from '../../src/model/pod.js';
import type { PolicyPeer } from '../../src/model/policy.js';
import { selector } from '../../src/model/selector.js';
import { World } from '../../src/model/world.js';
import { address, addressBytes } from '../../src/net/address.js';
import { cidr } from '../../src/net/cidr.js';

const pod = (
  namespace: string,
  name: string,
  addresses: readonly string[],
  labels: Readonly<Record<string, string>>,
  ports: Pod['ports'],
): Pod => ({
  namespace,
  name,
  uid: '',
  labels: labelsOf(labels),
  addresses: addresses.map(address),
  hostAddresses: [],
  hostNetwork: false,
  nodeName: name.endsWith('far') ? 'two' : 'one',
  phase: 'Running',
  terminating: false,
  ready: true,
  created: '',
  ports,
});

const block = (base: string, ...except: string[]): PolicyPeer => ({
  kind: 'block',
  cidr: cidr(base),
  except: except.map(cidr),
});

function fixtureWorld(): World {
  const world = new World();
  world.put('namespace', { name: 'shop', labels: labelsOf({ team: 'red' }) });
  world.put('namespace', { name: 'ops', labels: labelsOf({ team: 'blue' }) });
  world.put('node', { name: 'one', addresses: [address('192.168.0.1'), address('fd99::1')], podCidrs: [] });
  world.put('node', { name: 'two', addresses: [address('192.168.0.2'), address('fd99::2')], podCidrs: [] });
  world.put(
    'pod',
    pod('shop', 'web', ['10.0.0.1', 'fd00::1'], { app: 'web' }, [
      { name: 'http', port: 8080, protocol: 'TCP' },
    ]),
  );
  world.put(
    'pod',
    pod('shop', 'db', ['10.0.0.2', 'fd00::2'], { app: 'db' }, [{ name: 'sql', port: 5432, protocol: 'TCP' }]),
  );
  world.put(
    'pod',
    pod('shop', 'web-far', ['10.0.1.1', 'fd00::101'], { app: 'web' }, [
      { name: 'http', port: 8081, protocol: 'TCP' },
    ]),
  );
  world.put('pod', pod('ops', 'probe-far', ['10.0.1.2', 'fd00::102'], { app: 'probe' }, []));
  world.put('policy', {
    namespace: 'shop',
    name: 'db',
    uid: '',
    podSelector: selector({ app: 'db' }),
    ingress: [
      {
        peers: [{ kind: 'pods', podSelector: selector({ app: 'web' }) }],
        ports: [{ kind: 'named', protocol: 'TCP', name: 'sql' }],
        source: { file: 'shop.yaml', line: 12, column: 5 },
      },
      { peers: [{ kind: 'pods', namespaceSelector: selector({ team: 'blue' }) }], ports: null },
      {
        peers: [block('172.16.0.0/12', '172.16.5.0/24'), block('fd00:5::/32', 'fd00:5:1::/48')],
        ports: [
          { kind: 'range', protocol: 'TCP', first: 5000, last: 6000 },
          { kind: 'protocol', protocol: 'SCTP' },
        ],
      },
      { peers: [block('172.16.5.128/25')], ports: [{ kind: 'range', protocol: 'UDP', first: 53, last: 53 }] },
    ],
    egress: [],
  });
  world.put('policy', {
    namespace: 'shop',
    name: 'web',
    uid: '',
    podSelector: selector({ app: 'web' }),
    ingress: null,
    egress: [
      { peers: null, ports: [{ kind: 'named', protocol: 'TCP', name: 'http' }] },
      {
        peers: [block('0.0.0.0/0', '10.0.0.0/8')],
        ports: [{ kind: 'range', protocol: 'TCP', first: 443, last: 443 }],
      },
      {
        peers: [{ kind: 'pods', podSelector: selector({ app: 'db' }) }],
        ports: [{ kind: 'range', protocol: 'TCP', first: 5432, last: 5432 }],
      },
    ],
  });
  world.put('service', {
    namespace: 'shop',
    name: 'web',
    uid: '',
    type: 'NodePort',
    clusterIPs: [address('10.96.0.10'), address('fd96::10')],
    externalIPs: [],
    loadBalancerIPs: [],
    ports: [{ name: 'http', protocol: 'TCP', port: 80, targetPort: 'http', nodePort: 30_080 }],
    selector: labelsOf({ app: 'web' }),
    affinitySeconds: 600,
    publishNotReadyAddresses: false,
    internalTrafficPolicy: 'Cluster',
  });
  world.put('service', {
    namespace: 'shop',
    name: 'gone',
    uid: '',
    type: 'ClusterIP',
    clusterIPs: [address('10.96.0.11')],
    externalIPs: [],
    loadBalancerIPs: [],
    ports: [{ name: '', protocol: 'UDP', port: 53, targetPort: 53 }],
    selector: labelsOf({ app: 'nobody' }),
    affinitySeconds: 0,
    publishNotReadyAddresses: false,
    internalTrafficPolicy: 'Cluster',
  });
  return world;
}

const probes = [
  '10.0.0.1',
  '10.0.0.2',
  '10.0.1.1',
  '10.0.1.2',
  '10.0.0.3',
  '192.168.0.1',
  '192.168.0.2',
  '10.96.0.10',
  '172.15.255.255',
  '172.16.0.0',
  '172.16.4.255',
  '172.16.5.0',
  '172.16.5.127',
  '172.16.5.128',
  '172.16.5.255',
  '172.16.6.0',
  '172.31.255.255',
  '172.32.0.0',
  '0.0.0.0',
  '255.255.255.255',
  '9.255.255.255',
  '10.255.255.255',
  '11.0.0.0',
  'fd00::1',
  'fd00::2',
  'fd00::101',
  'fd00::102',
  'fd99::1',
  'fd99::2',
  'fd96::10',
  'fd00:5::1',
  'fd00:5:1::1',
  'fd00:5:2::1',
  'fd00:6::1',
  '::',
  '2001:db8::1',
];
const questions = [
  [6, 0],
  [6, 443],
  [6, 4999],
  [6, 5000],
  [6, 5432],
  [6, 6000],
  [6, 6001],
  [6, 8080],
  [6, 8081],
  [6, 65535],
  [17, 53],
  [17, 54],
  [132, 0],
  [132, 7],
  [1, 0],
  [58, 0],
] as const;

function flagsOf(known: ReturnType<DecodedImage['classify']>): number {
  const names = Object.keys(addressFlags) as (keyof typeof addressFlags)[];
  return names.reduce((sum, name) => sum + (known[name] ? addressFlags[name] : 0), 0);
}

const orNone = (index: number | null): string => (index === null ? '0xffffffff' : String(index));
const byteList = (bytes: Uint8Array): string => [...bytes].map((byte) => `0x${byte.toString(16)}`).join(',');

function lines(items: readonly string[], width: number): string {
  const out: string[] = [];
  for (let i = 0; i < items.length; i += width) out.push(`    ${items.slice(i, i + width).join(', ')},`);
  return out.join('\n');
}

/** The header as text; the same compiler gives the same bytes. */
export function policyFixture(): string {
  const { image: bytes } = compile(fixtureWorld(), {
    node: 'one',
    settings: { ownNodeEgress: 'judge', denyAction: { egress: 'drop', ingress: 'reject' } },
  });
  const decoded = decode(bytes);
  if ('problem' in decoded) throw new Error(decoded.problem.message);
  const { image } = decoded;
  const addresses = probes.map((text) => {
    const at = address(text);
    const known = image.classify(at);
    return `{{${byteList(addressBytes(at))}}, ${at.family}, ${known.peerClass}, ${orNone(known.program)}, ${flagsOf(known)}}`;
  });
  const verdicts: string[] = [];
  for (let program = 0; program < image.programCount; program++) {
    for (const direction of ['egress', 'ingress'] as const) {
      for (let peer = 0; peer < image.classCount; peer++) {
        for (const [protocol, port] of questions) {
          const { allowed, rule } = image.judge(program, direction, peer, protocol, port);
          verdicts.push(
            `{${program}, ${direction === 'egress' ? 0 : 1}, ${peer}, ${protocol}, ${port}, ${allowed}, ${orNone(rule)}}`,
          );
        }
      }
    }
  }
  return `// Generated by native/generate/policy-fixture.ts; do not edit. \`npm run generate\` writes it again.
// clang-format off
#pragma once

#include <cstdint>

namespace weft::fixture {

struct KnownAddress { uint8_t address[16]; uint8_t family; uint32_t peer_class; uint32_t program; uint32_t flags; };
struct Verdict { uint32_t program; uint8_t direction; uint32_t peer_class; uint8_t protocol; uint16_t port; bool allowed; uint32_t rule; };

inline constexpr uint8_t kImage[] = {
${lines([...bytes].map(String), 40)}
};

inline constexpr KnownAddress kAddresses[] = {
${lines(addresses, 1)}
};

inline constexpr Verdict kVerdicts[] = {
${lines(verdicts, 6)}
};

}  // namespace weft::fixture
`;
}
