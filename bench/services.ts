/**
 * What Services cost the compiler: `node --expose-gc dist/bench/services.js [--json] [SERVICES ENDPOINTS]`.
 *
 * 10,000 Services with 50,000 endpoints in slices are compiled from nothing, and then changed one by one, every change with its own image. All
 * times are processor time, of all threads, of the whole compile. Each Service has two ports (TCP and UDP), every tenth a node port.
 */
import { Compiler } from '../src/image/compile.js';
import type { EndpointSlice, Service } from '../src/model/service.js';
import { World } from '../src/model/world.js';
import { address } from '../src/net/address.js';
import { clocked, spread } from './processor-time.js';
import { randomness } from './worlds.js';

const nodes = 20;
const nameOf = (i: number) => `s${i}`;
const namespaceOf = (i: number) => `n${i % 100}`;
const ip = (base: number, i: number) => `10.${base + (i >> 16)}.${(i >> 8) & 255}.${i & 255}`;

function makeService(i: number): Service {
  const nodePort = (n: number) => (i % 10 === 0 && n === 0 ? { nodePort: 30_000 + i / 10 } : {});
  return {
    namespace: namespaceOf(i),
    name: nameOf(i),
    uid: '',
    created: '2024-01-01T00:00:00Z',
    type: i % 10 === 0 ? 'NodePort' : 'ClusterIP',
    clusterIPs: [address(ip(43, i))],
    externalIPs: [],
    loadBalancerIPs: [],
    ports: [
      { name: 'http', protocol: 'TCP', port: 80, targetPort: 'http', ...nodePort(0) },
      { name: 'dns', protocol: 'UDP', port: 53, targetPort: 'dns' },
    ],
    selector: new Map([['app', nameOf(i)]]),
    affinitySeconds: 0,
    publishNotReadyAddresses: false,
    internalTrafficPolicy: 'Cluster',
  };
}

/** `unready`: which endpoint is not, or -1. */
function makeSlice(i: number, each: number, unready: number): EndpointSlice {
  return {
    namespace: namespaceOf(i),
    name: `${nameOf(i)}-1`,
    service: nameOf(i),
    family: 4,
    ports: [
      { name: 'http', protocol: 'TCP', port: 8080 },
      { name: 'dns', protocol: 'UDP', port: 5353 },
    ],
    endpoints: Array.from({ length: each }, (_, n) => ({
      addresses: [address(ip(60, i * each + n))],
      ready: n !== unready,
      ...(n === unready ? { serving: false } : {}),
      nodeName: `node-${(i + n) % nodes}`,
    })),
  };
}

function measure(services: number, endpoints: number, rounds: number) {
  const each = Math.round(endpoints / services);
  const world = new World();
  for (let i = 0; i < nodes; i++)
    world.put('node', { name: `node-${i}`, addresses: [address(ip(192, i + 1))], podCidrs: [] });
  for (let i = 0; i < services; i++) {
    world.put('service', makeService(i));
    world.put('slice', makeSlice(i, each, -1));
  }
  let compiler = new Compiler(world, { node: 'node-0' });
  const scratchMs = clocked(() => compiler.update());
  const { image, stats } = compiler.update();
  const random = randomness(0x5e41ce);
  const timed = (change: (round: number) => void) => {
    const samples = Array.from({ length: rounds }, (_, round) => {
      change(round);
      return clocked(() => compiler.update());
    });
    return spread(samples.slice(rounds >> 2));
  };
  globalThis.gc?.();
  const change = {
    'a slice changes': timed((round) => {
      const i = random(services);
      world.put('slice', makeSlice(i, each, round % each));
    }),
    'a pod of this node comes or goes': timed((round) => {
      const name = `p${round >> 1}`;
      if (round % 2 === 1) world.apply({ type: 'delete', kind: 'pod', namespace: 'n0', name });
      else world.put('pod', makePod(name, round));
    }),
    'a Service comes or goes': timed((round) => {
      const i = services + (round >> 1);
      if (round % 2 === 1)
        world.apply({ type: 'delete', kind: 'service', namespace: namespaceOf(i), name: nameOf(i) });
      else world.put('service', makeService(i));
    }),
  };
  compiler = new Compiler(new World());
  return {
    services,
    endpoints: each * services,
    records: stats.services,
    imageBytes: image.length,
    scratchMs,
    change,
  };
}

function makePod(name: string, i: number) {
  return {
    namespace: 'n0',
    name,
    uid: '',
    labels: new Map([['app', 'none']]),
    addresses: [address(ip(70, i + 1))],
    hostAddresses: [address(ip(192, 1))],
    hostNetwork: false,
    nodeName: 'node-0',
    phase: 'Running' as const,
    terminating: false,
    ready: true,
    created: '',
    ports: [],
  };
}

const numbers = process.argv
  .slice(2)
  .filter((text) => /^\d+$/.test(text))
  .map(Number);
const figures = measure(numbers[0] ?? 10_000, numbers[1] ?? 50_000, 200);
if (process.argv.includes('--json')) console.log(JSON.stringify(figures));
else {
  const { services, endpoints, records, imageBytes, scratchMs, change } = figures;
  console.log(
    `${services} Services, ${endpoints} endpoints: ${records} records, image ${(imageBytes / 1e6).toFixed(1)} MB, from nothing ${scratchMs.toFixed(0)} ms`,
  );
  for (const [name, { p50, p99, max }] of Object.entries(change))
    console.log(
      `${name.padEnd(34)} p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms, max ${max.toFixed(1)} ms`,
    );
}
