import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { collectCounters } from '../../../src/agent/collect.js';
import type { PortCounters } from '../../../src/dataplane/protocol/answers.js';
import type { PortSpec } from '../../../src/dataplane/protocol/desired-state.js';
import { WeftError } from '../../../src/errors/problem.js';
import { TelemetryServer } from '../../../src/telemetry/http.js';
import { type MetricDefinition, metrics, renderMetricsPage } from '../../../src/telemetry/metrics.js';
import { MetricsRegistry } from '../../../src/telemetry/registry.js';
import { repositoryRoot } from '../../support/repository.js';

const table = Object.entries(metrics as Readonly<Record<string, MetricDefinition>>);

test('config/metrics.md is what the table of metrics says', () => {
  const file = readFileSync(join(repositoryRoot, 'config/metrics.md'), 'utf8');
  assert.equal(file, renderMetricsPage(), 'run `npm run generate` and commit the result');
});

test('metrics are named by the Prometheus conventions and each has its sentence', () => {
  for (const [name, { type, help, labels }] of table) {
    assert.match(name, /^weft_[a-z0-9_]+$/, name);
    assert.equal(name.endsWith('_total'), type === 'counter', name);
    assert.match(help, /^[A-Z0-9].*\.$/, name);
    for (const label of labels) assert.match(label, /^[a-z]+$/, name);
  }
});

test('every metric of the table is exported, and nothing else is', async () => {
  const text = await new MetricsRegistry().text();
  const exported = [...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map((match) => `${match[1]} ${match[2]}`);
  assert.deepEqual(exported.sort(), table.map(([name, { type }]) => `${name} ${type}`).sort());
});

const spec = (id: string, kind: 'pod' | 'host' = 'pod'): PortSpec => ({
  id,
  namespace: kind === 'host' ? '' : 'shop',
  name: id,
  netns: '',
  ifname: 'eth0',
  mac: '02:00:00:00:00:01',
  addresses: [],
  mtu: 1500,
  kind,
});
const counted = (id: string, receivedPackets: number, denied: number): PortCounters => ({
  id,
  receivedPackets,
  receivedBytes: 0,
  sentPackets: 0,
  sentBytes: 0,
  answers: 0,
  connections: 0,
  workerNanoseconds: 1_500_000_000,
  throttledNanoseconds: 250_000_000,
  policedPackets: 4,
  drops: { 'policy-egress': denied },
});
const lines = (text: string, name: string) =>
  text
    .split('\n')
    .filter((line) => line.startsWith(`${name}{`))
    .sort();

test('series of ports are bounded: the first ones have their names, the others are summed; gone ports end', async () => {
  const registry = new MetricsRegistry();
  const ports = [spec('node', 'host'), spec('a'), spec('b'), spec('c')];
  const counters = {
    ports: [counted('node', 1, 0), counted('a', 2, 1), counted('b', 4, 2), counted('c', 8, 4)],
    drops: { 'policy-egress': 10 },
  };
  collectCounters(registry, counters, ports, 2);
  const name = 'weft_port_received_packets_total';
  assert.deepEqual(lines(await registry.text(), name), [
    `${name}{namespace="",pod="host"} 1`,
    `${name}{namespace="",pod="other"} 12`,
    `${name}{namespace="shop",pod="a"} 2`,
  ]);
  assert.ok(
    lines(await registry.text(), 'weft_drops_total').includes(
      'weft_drops_total{reason="policy-egress",kind="policy"} 17',
    ),
  );
  assert.ok(
    lines(await registry.text(), 'weft_port_worker_seconds_total').includes(
      'weft_port_worker_seconds_total{namespace="",pod="other"} 3',
    ),
  );
  collectCounters(registry, { ports: [counted('c', 9, 0)], drops: {} }, [spec('c')], 2);
  assert.deepEqual(lines(await registry.text(), name), [`${name}{namespace="shop",pod="c"} 9`]);
});

test('labels that a pod name could smuggle in are quoted', async () => {
  const registry = new MetricsRegistry();
  collectCounters(registry, { ports: [counted('x', 1, 0)], drops: {} }, [{ ...spec('x'), name: 'a"b\n' }], 1);
  assert.match(await registry.text(), /pod="a\\"b\\n"/);
});

test('health pages: alive always, ready with a reason if not, metrics, and nothing else', async (t) => {
  let reason: string | null = 'the source manifests has not synced';
  const server = new TelemetryServer({
    metrics: async () => ({ text: 'weft_x 1\n', contentType: 'text/plain; version=0.0.4' }),
    unready: () => reason,
  });
  const port = await server.listen('127.0.0.1', 0);
  t.after(() => server.close());
  const get = async (path: string, method = 'GET') => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`, { method });
    return [response.status, await response.text()];
  };
  assert.deepEqual(await get('/healthz'), [200, 'ok\n']);
  assert.deepEqual(await get('/readyz'), [503, 'not ready: the source manifests has not synced\n']);
  reason = null;
  assert.deepEqual(await get('/readyz'), [200, 'ready\n']);
  assert.deepEqual(await get('/metrics?x=1'), [200, 'weft_x 1\n']);
  assert.equal((await get('/'))[0], 404);
  assert.equal((await get('/metrics', 'POST'))[0], 405);
  const second = new TelemetryServer({
    metrics: async () => ({ text: '', contentType: '' }),
    unready: () => null,
  });
  await assert.rejects(second.listen('127.0.0.1', port as number), (error: WeftError) => {
    assert.equal(error.code, 'telemetry-listen');
    assert.match(error.message, /EADDRINUSE/);
    return error instanceof WeftError;
  });
});
