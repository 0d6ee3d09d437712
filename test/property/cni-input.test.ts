/**
 * What a runtime can send: configurations, environments and namespace reports with something wrong anywhere, and plain garbage. Each is taken
 * or refused with one of the specification's codes and a word; nothing else is thrown, and what is taken can be answered in its version.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { readArguments } from '../../src/cni/arguments.js';
import { readConfiguration, versionIn } from '../../src/cni/configuration.js';
import { type CniCommand, readEnvironment } from '../../src/cni/environment.js';
import { CniFailure, failureText } from '../../src/cni/failure.js';
import { readNamespaceReport } from '../../src/cni/namespace-report.js';
import { appendResult, writeResult } from '../../src/cni/result.js';
import { atLeast, type CniVersion, cniVersions } from '../../src/cni/version.js';
import { damage, damaged } from '../support/damage.js';

const seed = Number(process.env.WEFT_PROPERTY_SEED ?? 20240602);
const numRuns = Number(process.env.WEFT_PROPERTY_RUNS ?? 3000);
const commands: readonly CniCommand[] = ['ADD', 'DEL', 'CHECK', 'GC', 'STATUS'];

const full = (cniVersion: string) => ({
  cniVersion,
  cniVersions: ['0.4.0', cniVersion],
  name: 'weft',
  type: 'weft-cni',
  runDir: '/run/weft',
  connectTimeout: 2000,
  answerTimeout: 90_000,
  mtu: 1400,
  namespace: 'containers',
  capabilities: { portMappings: true, bandwidth: true, ips: true, mac: true },
  runtimeConfig: {
    portMappings: [{ hostPort: 8080, containerPort: 80, protocol: 'tcp', hostIP: '192.0.2.1' }],
    bandwidth: { ingressRate: 1000, ingressBurst: 1000, egressRate: 1000, egressBurst: 1000 },
    ips: ['10.99.0.7/24', 'fd99::7/64'],
    mac: '02:00:00:00:00:77',
  },
  args: { cni: { labels: [{ key: 'a', value: 'b' }], ips: ['10.99.0.8/24'], mac: '02:00:00:00:00:78' } },
  dns: { nameservers: ['10.43.0.10'], domain: 'x', search: ['y'], options: ['z'] },
  prevResult: {
    cniVersion,
    interfaces: [
      {
        name: 'lo',
        mac: '00:00:00:00:00:00',
        mtu: 1500,
        sandbox: '/run/netns/a',
        socketPath: '/s',
        pciID: 'p',
      },
    ],
    ips: [{ version: '4', address: '127.0.0.1/8', gateway: '10.0.0.1', interface: 0 }],
    routes: [{ dst: '10.0.0.0/8', gw: '10.0.0.1', mtu: 1400, priority: 5, table: 7, advmss: 3, scope: 1 }],
    dns: { nameservers: ['10.43.0.10'] },
  },
  'cni.dev/valid-attachments': [{ containerID: 'c0ffee', ifname: 'eth0' }],
});
const environment = {
  CNI_COMMAND: 'ADD',
  CNI_CONTAINERID: 'c0ffee',
  CNI_NETNS: '/run/netns/a',
  CNI_IFNAME: 'eth0',
  CNI_ARGS: 'IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web;K8S_POD_UID=u',
  CNI_PATH: '/opt/cni/bin',
  CNI_NETNS_OVERRIDE: '1',
};
const report = {
  state: 'ok',
  interface: {
    name: 'eth0',
    kind: 'tun',
    mac: '02:00:00:00:00:01',
    mtu: 1500,
    up: true,
    addresses: ['10.0.0.1/32'],
    routes: [{ dst: '0.0.0.0/0', gw: '169.254.1.1' }],
  },
};

/** Codes of the specification, and those of ours that a call can meet before the agent does anything. */
const codes = new Set([1, 2, 3, 4, 5, 6, 7, 101]);

function takenOrRefused<T>(read: () => T, version: CniVersion | undefined): T | undefined {
  try {
    return read();
  } catch (error) {
    assert.ok(error instanceof CniFailure, String((error as Error).stack));
    assert.ok(codes.has(error.code), `${error.code} ${error.message}`);
    assert.notEqual(error.message, '');
    const told = JSON.parse(failureText(error, version)) as { cniVersion: string; code: number };
    assert.equal(told.code, error.code);
    return undefined;
  }
}

/** Fields that came with a version must not be in a result of an older one (facts of the specification's appendix). */
function leaks(result: object, version: CniVersion): readonly string[] {
  const text = JSON.stringify(result);
  const younger = atLeast(version, '1.1.0')
    ? []
    : ['"mtu"', '"priority"', '"table"', '"advmss"', '"scope"', '"socketPath"', '"pciID"'];
  const older = atLeast(version, '1.0.0') ? ['"version"'] : [];
  return [...younger, ...older].filter((name) => text.includes(name));
}

const damages = fc.array(damage, { maxLength: 4 });

test(`a damaged configuration is taken, and answered in its version, or refused with a code (seed ${seed})`, () => {
  let taken = 0;
  fc.assert(
    fc.property(
      fc.constantFrom(...cniVersions),
      fc.constantFrom(...commands),
      damages,
      (cniVersion, command, wrong) => {
        const [broken] = damaged([full(cniVersion)], wrong);
        const text = JSON.stringify(broken ?? null);
        const configuration = takenOrRefused(() => readConfiguration(text, command), versionIn(text));
        if (configuration === undefined) return;
        taken++;
        const own = {
          interfaces: [{ name: 'eth0', mac: '02:00:00:00:00:01', mtu: 1500, sandbox: '/run/netns/a' }],
          ips: [{ interface: 0, address: '10.99.0.7/32', gateway: '169.254.1.1' }],
          routes: [{ dst: '0.0.0.0/0', gw: '169.254.1.1' }],
          dns: configuration.dns,
        };
        const { previous, version } = configuration;
        const all = previous === undefined ? own : appendResult(previous, own);
        const written = writeResult(all, version) as {
          ips: { interface?: number; version?: string }[];
          interfaces: object[];
        };
        assert.deepEqual(leaks(written, version), []);
        for (const { interface: index, version: family } of written.ips) {
          assert.ok(index === undefined || index < written.interfaces.length);
          assert.equal(family === undefined, atLeast(version, '1.0.0'));
        }
      },
    ),
    { seed, numRuns },
  );
  assert.ok(taken > numRuns / 10, `${taken} were taken`);
});

test(`any text and any JSON is taken or refused with a code (seed ${seed})`, () => {
  const texts = fc.oneof(
    fc.string({ maxLength: 200, unit: 'binary' }),
    fc.json(),
    fc
      .record({ text: fc.constant(JSON.stringify(full('1.1.0'))), cut: fc.nat(900) })
      .map(({ text, cut }) => text.slice(0, cut)),
  );
  fc.assert(
    fc.property(texts, fc.constantFrom(...commands), (text, command) => {
      takenOrRefused(() => readConfiguration(text, command), versionIn(text));
    }),
    { seed, numRuns },
  );
});

test(`damaged environments, arguments and namespace reports are taken or refused with a code (seed ${seed})`, () => {
  fc.assert(
    fc.property(damages, damages, fc.string({ maxLength: 80, unit: 'binary' }), (one, other, text) => {
      const [variables] = damaged([environment], one);
      takenOrRefused(() => readEnvironment(variables ?? {}), undefined);
      takenOrRefused(() => readNamespaceReport(damaged([report], other)[0]), undefined);
      takenOrRefused(() => readArguments(text), undefined);
      takenOrRefused(() => readArguments(`${text}=1;K8S_POD_NAME=${text};=;;`), undefined);
    }),
    { seed, numRuns },
  );
});
