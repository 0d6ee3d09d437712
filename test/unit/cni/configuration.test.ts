/** What a call may bring: environment, arguments, configuration; each mistake with its code and the name of what is wrong. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { readArguments } from '../../../src/cni/arguments.js';
import { ownFields, readConfiguration, versionIn } from '../../../src/cni/configuration.js';
import { type CniCommand, readEnvironment } from '../../../src/cni/environment.js';
import { CniFailure, cniCodes, failureText } from '../../../src/cni/failure.js';
import { cniVersions, newestVersion } from '../../../src/cni/version.js';
import { defaultConfig } from '../../../src/config/parse.js';
import { repositoryRoot } from '../../support/repository.js';

const head = { cniVersion: '1.1.0', name: 'weft', type: 'weft-cni' };
const read = (change: object, command: CniCommand = 'ADD') =>
  readConfiguration(JSON.stringify({ ...head, ...change }), command);
const refusal = (run: () => unknown): string => {
  try {
    run();
  } catch (error) {
    assert.ok(error instanceof CniFailure, String(error));
    return `${error.code} ${error.message} | ${error.details}`;
  }
  return 'accepted';
};

test('the plugin and the agent speak the same versions and codes', () => {
  const header = readFileSync(join(repositoryRoot, 'native', 'cni', 'failure.h'), 'utf8');
  const list = /kVersions\[\] = \{([^}]*)\}/.exec(header)?.[1] ?? '';
  assert.deepEqual(
    [...list.matchAll(/"([^"]+)"/g)].map((match) => match[1]),
    [...cniVersions],
  );
  assert.match(header, new RegExp(`kNewestVersion = "${newestVersion}"`));
  const codes = new Map(
    [...header.matchAll(/int k(\w+) = (\d+);/g)].map(([, name, code]) => [name, Number(code)]),
  );
  assert.deepEqual(Object.fromEntries(codes), {
    IncompatibleVersion: cniCodes.incompatibleVersion,
    InvalidEnvironment: cniCodes.invalidEnvironment,
    InputFailure: cniCodes.inputFailure,
    DecodingFailure: cniCodes.decodingFailure,
    TryAgainLater: cniCodes.tryAgainLater,
    NotAvailable: cniCodes.notAvailable,
    Internal: cniCodes.internal,
  });
});

test("by default an ADD ends with the agent's word, before the plugin's patience, and that before a kubelet's", () => {
  const header = readFileSync(join(repositoryRoot, 'native', 'cni', 'call.h'), 'utf8');
  const milliseconds = (name: string) =>
    Number(new RegExp(`${name}_milliseconds = ([\\d']+);`).exec(header)?.[1]?.replace("'", ''));
  const { attachTimeout } = defaultConfig().agent;
  assert.ok(attachTimeout / 1000 < milliseconds('answer'));
  // A kubelet gives a sandbox twice its runtimeRequestTimeout of two minutes; containerd and CRI-O add no limit below that.
  assert.ok(milliseconds('connect') + milliseconds('answer') < 2 * 120_000);
  assert.match(ownFields.answerTimeout, new RegExp(`${milliseconds('answer')}`));
  assert.match(ownFields.connectTimeout, new RegExp(`${milliseconds('connect')}`));
});

const containerNeeds = { CNI_CONTAINERID: 'c0ffee', CNI_NETNS: '/run/netns/a', CNI_IFNAME: 'eth0' };

test('the environment names what is missing or wrong', () => {
  for (const [variables, expected] of [
    [{}, /^4 invalid environment variable CNI_COMMAND/],
    [{ CNI_COMMAND: 'VERSION' }, /^4 .* CNI_COMMAND/],
    [{ CNI_COMMAND: 'toString' }, /^4 .* CNI_COMMAND/],
    [{ CNI_COMMAND: 'ADD' }, /missing: CNI_CONTAINERID, CNI_NETNS, CNI_IFNAME/],
    [{ CNI_COMMAND: 'DEL' }, /missing: CNI_CONTAINERID, CNI_IFNAME /],
    [{ CNI_COMMAND: 'CHECK', ...containerNeeds, CNI_NETNS: '' }, /missing: CNI_NETNS/],
    [{ CNI_COMMAND: 'ADD', ...containerNeeds, CNI_NETNS: 'relative' }, /^4 .* CNI_NETNS/],
    [{ CNI_COMMAND: 'ADD', ...containerNeeds, CNI_CONTAINERID: '../x' }, /^4 .* CNI_CONTAINERID/],
    [{ CNI_COMMAND: 'ADD', ...containerNeeds, CNI_IFNAME: 'sixteen-bytes-xx' }, /^4 .* CNI_IFNAME/],
    [{ CNI_COMMAND: 'ADD', ...containerNeeds, CNI_IFNAME: 'é'.repeat(8) }, /^4 .* CNI_IFNAME/],
    [{ CNI_COMMAND: 'ADD', ...containerNeeds, CNI_IFNAME: '..' }, /^4 .* CNI_IFNAME/],
    [{ CNI_COMMAND: 'ADD', ...containerNeeds, CNI_ARGS: 'A=1' }, /^4 .* CNI_ARGS .*A/],
  ] as const)
    assert.match(
      refusal(() => readEnvironment(variables)),
      expected,
      JSON.stringify(variables),
    );
  for (const command of ['GC', 'STATUS'])
    assert.equal(readEnvironment({ CNI_COMMAND: command }).command, command);
  // What identifies the container is enough; arguments that ADD refused must not keep DEL from working.
  const deleted = readEnvironment({
    CNI_COMMAND: 'DEL',
    CNI_CONTAINERID: 'a',
    CNI_IFNAME: 'eth0',
    CNI_ARGS: 'nonsense',
  });
  assert.deepEqual([deleted.netns, deleted.containerId], ['', 'a']);
});

test('CNI_ARGS name the pod; what is not known is refused unless the runtime says to ignore it', () => {
  assert.deepEqual(
    readArguments(
      'IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web;K8S_POD_UID=u;K8S_POD_INFRA_CONTAINER_ID=c;X=1',
    ),
    { podNamespace: 'shop', podName: 'web', podUid: 'u' },
  );
  assert.deepEqual(readArguments(''), {});
  assert.deepEqual(readArguments('K8S_POD_UID=;IP=10.1.1.1/24;MAC=02:00:00:00:00:01;'), {
    ip: '10.1.1.1/24',
    mac: '02:00:00:00:00:01',
  });
  for (const [text, named] of [
    ['K8S_POD_NAME=web', 'K8S_POD_NAMESPACE is missing'],
    ['K8S_POD_NAMESPACE=shop', 'K8S_POD_NAME is missing'],
    ['nonsense', '"nonsense"'],
    ['=x', '"=x"'],
    ['FOO=1', 'FOO'],
    ['FOO=1;IgnoreUnknown=0', 'FOO'],
  ] as const)
    assert.match(
      refusal(() => readArguments(text)),
      new RegExp(`^4 .*CNI_ARGS.*${named}`),
      text,
    );
});

test('every command wants a version that has it', () => {
  const since = { ADD: 0, DEL: 0, CHECK: 2, STATUS: 4, GC: 4 } as const;
  for (const [command, first] of Object.entries(since) as [CniCommand, number][])
    for (const [index, cniVersion] of cniVersions.entries()) {
      const more = { cniVersion, prevResult: { cniVersion, ips: [] }, 'cni.dev/valid-attachments': [] };
      const found = refusal(() => read(more, command));
      assert.equal(
        found.split(' ')[0],
        index >= first ? 'accepted' : '1',
        `${command} ${cniVersion}: ${found}`,
      );
    }
  for (const cniVersion of [undefined, '0.1.0', '0.2.0', '2.0.0', ''])
    assert.match(
      refusal(() => read({ cniVersion })),
      /^1 incompatible CNI version \| .*cniVersion/,
    );
});

test('a mistake is told with the name of the field', () => {
  for (const [change, expected] of [
    [{ name: undefined }, /^7 .*field name is missing/],
    [{ name: '' }, /^7 .*field name/],
    [{ name: '../x' }, /^7 .*field name is "\.\.\/x"/],
    [{ name: 5 }, /^6 .*field name has to be text/],
    [{ cniVersion: 1 }, /^6 .*field cniVersion/],
    [{ ipam: { type: 'host-local' } }, /^2 unsupported field "ipam".*\{"type":"host-local"\}/],
    [{ ipMasq: true }, /^2 unsupported field "ipMasq" .*true/],
    [{ runDIr: '/x' }, /^2 unsupported field "runDIr" .*Is runDir meant\?/],
    [{ bridge: 'cni0' }, /^2 unsupported field "bridge" .*"cni0"/],
    [{ mtu: 100 }, /^7 .*field mtu is 100/],
    [{ mtu: '1500' }, /^6 .*field mtu/],
    [{ namespace: 'A_B' }, /^7 .*field namespace/],
    [{ dns: { nameservers: [1] } }, /^6 .*field dns\.nameservers/],
    [{ prevResult: [] }, /^6 .*field prevResult/],
    [{ prevResult: { cniVersion: '0.2.0' } }, /^1 .*prevResult\.cniVersion/],
    [{ prevResult: { ips: [{ address: '10.0.0.1' }] } }, /^7 .*prevResult\.ips\[0\]\.address/],
    [
      { prevResult: { ips: [{ address: '10.0.0.1/8', interface: 0 }] } },
      /^7 .*prevResult\.ips\[0\]\.interface/,
    ],
    [{ prevResult: { interfaces: [{}] } }, /^7 .*prevResult\.interfaces\[0\]\.name/],
    [{ prevResult: { routes: [{ dst: 'x' }] } }, /^7 .*prevResult\.routes\[0\]\.dst/],
    [{ runtimeConfig: { portMappings: {} } }, /^6 .*runtimeConfig\.portMappings/],
    [{ runtimeConfig: { portMappings: [{ hostPort: 80 }] } }, /^7 .*portMappings\[0\]\.containerPort/],
    [
      { runtimeConfig: { portMappings: [{ hostPort: 70000, containerPort: 1 }] } },
      /^7 .*portMappings\[0\]\.hostPort/,
    ],
    [
      { runtimeConfig: { portMappings: [{ hostPort: 1, containerPort: 1, protocol: 'icmp' }] } },
      /^7 .*\.protocol is "icmp"/,
    ],
    [{ runtimeConfig: { portMappings: [{ hostPort: 1, containerPort: 1, hostIP: 'x' }] } }, /^7 .*\.hostIP/],
    [
      {
        runtimeConfig: {
          portMappings: [
            { hostPort: 1, containerPort: 1 },
            { hostPort: 1, containerPort: 2 },
          ],
        },
      },
      /^7 .*portMappings\[1\]\.hostPort/,
    ],
    [{ runtimeConfig: { bandwidth: { egressRate: -1 } } }, /^7 .*bandwidth\.egressRate/],
    [{ runtimeConfig: { ips: ['x'] } }, /^7 .*runtimeConfig\.ips\[0\]/],
    [{ runtimeConfig: { ips: ['10.0.0.1', '10.0.0.2'] } }, /^7 .*runtimeConfig\.ips/],
    [{ runtimeConfig: { mac: 'x' } }, /^7 .*runtimeConfig\.mac/],
    [{ args: { cni: { labels: [{ value: 'x' }] } } }, /^7 .*args\.cni\.labels\[0\]\.key/],
  ] as const)
    assert.match(
      refusal(() => read(change)),
      expected,
      JSON.stringify(change),
    );
  assert.match(
    refusal(() => read({}, 'CHECK')),
    /^7 .*prevResult/,
  );
  assert.match(
    refusal(() => read({}, 'GC')),
    /^7 .*cni\.dev\/valid-attachments/,
  );
  assert.match(
    refusal(() => read({ 'cni.dev/valid-attachments': [{ ifname: 'a' }] }, 'GC')),
    /^7 .*\[0\]\.containerID/,
  );
  for (const text of ['', '{', '[]', 'null', '{"cniVersion":"1.0.0",}'])
    assert.match(
      refusal(() => readConfiguration(text, 'ADD')),
      /^6 /,
      text,
    );
});

test('what the specification, runtimes and other plugins put in is no mistake', () => {
  const found = read({
    cniVersions: ['1.0.0', '1.1.0'],
    capabilities: { portMappings: true },
    disableCheck: false,
    ipam: {},
    ipMasq: false,
    'cni.dev/x': 1,
    'example.com/y': {},
    prevResult: null,
    runtimeConfig: null,
  });
  assert.deepEqual(found.capabilities, { portMappings: [], ips: [], labels: {} });
  // Nothing of what ADD is strict about keeps an address from being released.
  assert.equal(read({ bridge: 'x', mtu: 'x', prevResult: 7, runtimeConfig: [] }, 'DEL').name, 'weft');
});

test('capabilities are taken in every form that runtimes give them', () => {
  const { capabilities } = read({
    runtimeConfig: {
      portMappings: [
        { hostPort: 8080, containerPort: 80, protocol: 'tcp', hostIP: '' },
        { hostPort: 8080, containerPort: 80, protocol: 'TCP' },
        { hostPort: 53, containerPort: 5353, protocol: 'Udp', hostIP: '2001:DB8::1' },
        { hostPort: 0, containerPort: 9 },
        { hostPort: 7, containerPort: 8 },
      ],
      bandwidth: { ingressRate: 1_000_000, ingressBurst: 2 ** 64, egressRate: 0 },
      ips: ['10.42.0.9/24', '2001:db8::9'],
      mac: '02-00-00-00-00-0A',
    },
    args: {
      cni: {
        ips: ['10.42.0.7'],
        labels: [
          { key: 'app', value: 'web' },
          { key: '__proto__', value: 'x' },
        ],
      },
    },
  });
  assert.deepEqual(capabilities.portMappings, [
    { protocol: 'TCP', hostPort: 8080, containerPort: 80, hostIP: '' },
    { protocol: 'UDP', hostPort: 53, containerPort: 5353, hostIP: '2001:db8::1' },
    { protocol: 'TCP', hostPort: 7, containerPort: 8, hostIP: '' },
  ]);
  assert.deepEqual(capabilities.bandwidth, { ingressRate: 1_000_000, ingressBurst: Number.MAX_SAFE_INTEGER });
  assert.deepEqual(capabilities.ips, ['10.42.0.9', '2001:db8::9']);
  assert.equal(capabilities.mac, '02:00:00:00:00:0a');
  assert.deepEqual(Object.entries(capabilities.labels), [
    ['app', 'web'],
    ['__proto__', 'x'],
  ]);
});

test('The field names of containerd, which are those of its Go structures, are the same fields', () => {
  const { capabilities } = read({
    runtimeConfig: {
      portMappings: [{ HostPort: 8088, ContainerPort: 80, Protocol: 'udp', HostIP: '' }],
      bandwidth: { IngressRate: 1_000_000, IngressBurst: 4294967295, EgressRate: 0, EgressBurst: 0 },
    },
  });
  assert.deepEqual(capabilities.portMappings, [
    { protocol: 'UDP', hostPort: 8088, containerPort: 80, hostIP: '' },
  ]);
  assert.deepEqual(capabilities.bandwidth, { ingressRate: 1_000_000, ingressBurst: 4294967295 });
});

test('the newer way to ask for an address goes before the older ones', () => {
  const given = { ip: '10.0.0.1/24', mac: '02:00:00:00:00:01' };
  const ips = (change: object) =>
    readConfiguration(JSON.stringify({ ...head, ...change }), 'ADD', given).capabilities.ips;
  assert.deepEqual(ips({}), ['10.0.0.1']);
  assert.deepEqual(ips({ args: { cni: { ips: ['10.0.0.2'] } } }), ['10.0.0.2']);
  assert.deepEqual(ips({ args: { cni: { ips: ['10.0.0.2'] } }, runtimeConfig: { ips: ['10.0.0.3'] } }), [
    '10.0.0.3',
  ]);
});

test('GC takes the list under both of its names', () => {
  const one = [{ containerID: 'a', ifname: 'eth0' }];
  for (const name of ['cni.dev/valid-attachments', 'cni.dev/attachments'])
    assert.deepEqual(read({ [name]: one }, 'GC').valid, [{ containerId: 'a', ifname: 'eth0' }]);
});

test('an error is told in the version of the configuration as far as that can be read', () => {
  for (const [text, version] of [
    ['{"cniVersion":"0.4.0"}', '0.4.0'],
    ['{"name":"x","cniVersion" : "0.3.1","broken"', '0.3.1'],
    ['{"cniVersion":"7.0.0"}', undefined],
    ['{"cniVersion":5}', undefined],
    ['', undefined],
    ['null', undefined],
  ] as const)
    assert.equal(versionIn(text), version, text);
  assert.equal(
    failureText(new CniFailure(11, 'm', 'd'), '0.4.0'),
    '{"cniVersion":"0.4.0","code":11,"msg":"m","details":"d"}\n',
  );
  assert.equal(failureText(new CniFailure(7, 'm')), '{"cniVersion":"1.1.0","code":7,"msg":"m"}\n');
});
