/** deploy/weft.yaml, deploy/weft-uninstall.yaml and deploy/Dockerfile against what the code needs and what is written elsewhere. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { parseAllDocuments } from 'yaml';
import { recordPath } from '../../../src/cni/installation.js';
import { findPlaces } from '../../../src/cni/places.js';
import { optionValue, standardConfigPath } from '../../../src/config/load.js';
import type { Config } from '../../../src/config/options.js';
import { defaultConfig, eachOption, parseConfig } from '../../../src/config/parse.js';
import { agentLabels } from '../../../src/kube/agents.js';
import { repositoryRoot } from '../../support/repository.js';

interface Container {
  readonly name: string;
  readonly image: string;
  readonly command: readonly string[];
  readonly env?: readonly { readonly name: string; readonly value?: string; readonly valueFrom?: unknown }[];
  readonly livenessProbe?: Probe;
  readonly readinessProbe?: Probe;
  readonly securityContext: {
    readonly privileged?: boolean;
    readonly readOnlyRootFilesystem?: boolean;
    readonly capabilities: { readonly drop: readonly string[]; readonly add?: readonly string[] };
    readonly seccompProfile: { readonly type: string };
  };
  readonly volumeMounts?: readonly Mount[];
}
interface Probe {
  readonly httpGet?: { readonly host: string; readonly port: number; readonly path: string };
  readonly exec?: { readonly command: readonly string[] };
}
interface Mount {
  readonly name: string;
  readonly mountPath: string;
  readonly readOnly?: boolean;
  readonly mountPropagation?: string;
}
interface Manifest {
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace: string;
    readonly labels?: Readonly<Record<string, string>>;
  };
  readonly data: Readonly<Record<string, string>>;
  readonly subjects?: readonly { readonly name: string; readonly namespace: string }[];
  readonly spec: {
    readonly selector: { readonly matchLabels: Readonly<Record<string, string>> };
    readonly updateStrategy: { readonly type: string };
    readonly template: {
      readonly metadata: { readonly labels: Readonly<Record<string, string>> };
      readonly spec: {
        readonly serviceAccountName?: string;
        readonly automountServiceAccountToken?: boolean;
        readonly hostNetwork: boolean;
        readonly priorityClassName: string;
        readonly tolerations: readonly object[];
        readonly initContainers?: readonly Container[];
        readonly containers: readonly Container[];
        readonly volumes: readonly {
          readonly name: string;
          readonly hostPath?: { readonly path: string; readonly type: string };
        }[];
      };
    };
  };
}

const text = (name: string) => readFileSync(join(repositoryRoot, 'deploy', name), 'utf8');
function manifests(name: string): readonly Manifest[] {
  return parseAllDocuments(text(name)).map((document) => {
    assert.deepEqual(document.errors, []);
    return document.toJS() as Manifest;
  });
}
const weft = manifests('weft.yaml');
const away = manifests('weft-uninstall.yaml');
const rights = manifests('rbac.yaml');
const podOf = (set: Manifest) => set.spec.template.spec;
const sets = [...weft, ...away].filter(({ kind }) => kind === 'DaemonSet');
const set = (name: string) => sets.find(({ metadata }) => metadata.name === name)!;
const containersOf = (one: Manifest) => [...(podOf(one).initContainers ?? []), ...podOf(one).containers];
const [agent] = podOf(set('weft-agent')).containers as [Container];
const [switch_] = podOf(set('weft-switch')).containers as [Container];
const [uninstall] = podOf(set('weft-uninstall')).initContainers as [Container];

const configText = weft.find(({ kind }) => kind === 'ConfigMap')!.data['config.yaml'] ?? '';
const config = ((): Config => {
  const { config: parsed, problems } = parseConfig(configText, 'deploy/weft.yaml');
  assert.deepEqual(problems, []);
  return parsed!;
})();

/** Where in the container a path is mounted from, and that path on the host. */
function mounted(one: Manifest, container: Container, path: string): { mount: Mount; host: string } {
  const over = (container.volumeMounts ?? [])
    .filter(({ mountPath }) => path === mountPath || path.startsWith(`${mountPath}/`))
    .sort((a, b) => b.mountPath.length - a.mountPath.length)[0];
  assert.ok(over, `${container.name} has nothing mounted at ${path}`);
  const from = podOf(one).volumes.find(({ name }) => name === over.name)?.hostPath?.path ?? '';
  return { mount: over, host: join(from, path.slice(over.mountPath.length)) };
}

test('The configuration is good, and says nothing that is the default anyway', () => {
  const said = [...eachOption()].filter(
    ([path]) =>
      JSON.stringify(optionValue(config, path)) !== JSON.stringify(optionValue(defaultConfig(), path)),
  );
  const lines = configText.split('\n').filter((line) => /^\s+\w+: ./.test(line));
  assert.equal(lines.length, said.length, said.map(([path]) => path).join(', '));
  assert.equal(config.cni.install, true);
});

test('Image names are of this version, and name no registry', () => {
  const { version } = JSON.parse(readFileSync(join(repositoryRoot, 'package.json'), 'utf8')) as {
    version: string;
  };
  for (const one of sets)
    for (const { image, name } of containersOf(one)) assert.equal(image, `weft:${version}`, name);
  assert.match(text('Dockerfile'), new RegExp(`^ARG VERSION=${version.replaceAll('.', '\\.')}$`, 'm'));
});

test('Selectors, labels and names are those that the commands from afar and the rights have', () => {
  for (const one of sets) {
    assert.deepEqual(one.spec.selector.matchLabels, one.spec.template.metadata.labels);
    assert.equal(one.metadata.namespace, 'kube-system');
  }
  const wanted = Object.fromEntries(agentLabels.split(',').map((pair) => pair.split('=')));
  assert.deepEqual(set('weft-agent').spec.template.metadata.labels, wanted);
  assert.notDeepEqual(set('weft-switch').spec.template.metadata.labels, wanted);
  assert.equal(agent.name, 'agent');
  const subjects = rights.flatMap(({ subjects: own }) => own ?? []);
  assert.ok(subjects.length > 0);
  for (const { name, namespace } of subjects) {
    assert.equal(name, podOf(set('weft-agent')).serviceAccountName);
    assert.equal(namespace, set('weft-agent').metadata.namespace);
  }
  // No copies of rights: they are rbac.yaml's alone. Who needs none has no token.
  assert.deepEqual([...new Set([...weft, ...away].map(({ kind }) => kind))].sort(), [
    'ConfigMap',
    'DaemonSet',
  ]);
  for (const one of sets)
    if (one.metadata.name !== 'weft-agent') assert.equal(podOf(one).automountServiceAccountToken, false);
});

test('No container has more rights than it is known to need', () => {
  const rightsOf = ({ securityContext }: Container) => securityContext.capabilities.add ?? [];
  for (const one of sets)
    for (const container of containersOf(one)) {
      const { securityContext: context } = container;
      assert.equal(context.privileged, undefined, container.name);
      assert.equal(context.readOnlyRootFilesystem, true, container.name);
      assert.deepEqual(context.capabilities.drop, ['ALL'], container.name);
      assert.equal(context.seccompProfile.type, 'RuntimeDefault', container.name);
    }
  assert.deepEqual([...rightsOf(switch_)].sort(), ['NET_ADMIN', 'SYS_ADMIN']);
  assert.deepEqual([...rightsOf(agent)].sort(), ['NET_ADMIN', 'NET_RAW']);
  assert.deepEqual([...rightsOf(uninstall)].sort(), ['NET_ADMIN', 'SYS_ADMIN']);
});

test('Pods start on any node, before there is a network, and are the last to be evicted', () => {
  for (const one of sets) {
    const pod = podOf(one);
    assert.equal(pod.hostNetwork, true);
    assert.equal(pod.priorityClassName, 'system-node-critical');
    assert.deepEqual(pod.tolerations, [{ operator: 'Exists' }]);
  }
  assert.equal(set('weft-switch').spec.updateStrategy.type, 'OnDelete');
  assert.equal(set('weft-agent').spec.updateStrategy.type, 'RollingUpdate');
});

test('No probe can end the switch; the agent’s ask where it listens', () => {
  assert.equal(switch_.livenessProbe, undefined);
  assert.deepEqual(switch_.readinessProbe?.exec?.command, [
    'test',
    '-S',
    join(config.paths.run, 'switch.sock'),
  ]);
  const { address: host, port } = config.telemetry;
  assert.deepEqual(agent.livenessProbe?.httpGet, { host, port, path: '/healthz' });
  assert.deepEqual(agent.readinessProbe?.httpGet, { host, port, path: '/readyz' });
});

test('Every volume is mounted and every mount is of a volume', () => {
  for (const one of sets) {
    const mounts = containersOf(one).flatMap(({ volumeMounts }) =>
      (volumeMounts ?? []).map(({ name }) => name),
    );
    assert.deepEqual(
      [...new Set(mounts)].sort(),
      podOf(one)
        .volumes.map(({ name }) => name)
        .sort(),
    );
  }
});

test('What the code reads and writes is mounted from where the host has it', () => {
  const places = findPlaces('/nonexistent');
  const below = (path: string) => join(config.host.root, path);
  const manager = ['/etc/NetworkManager/conf.d', '/etc/systemd/network', '/etc/dhcpcd.conf'];
  const sysctl = [join(config.paths.sysctl, 'net/ipv4/ip_forward'), '/proc/sys/net/ipv4/ip_forward'] as const;
  const host = [dirname(recordPath), places.bin, places.configurations, ...manager];
  const tables: readonly [Manifest, Container, readonly (readonly [string, string])[]][] = [
    [
      set('weft-switch'),
      switch_,
      [
        [config.paths.run, '/run/weft'],
        ['/run/netns/x', '/run/netns/x'],
        ['/dev/net/tun', '/dev/net/tun'],
        sysctl,
      ],
    ],
    [
      set('weft-agent'),
      agent,
      [[config.paths.run, '/run/weft'], ...host.map((path) => [below(path), path] as const), sysctl],
    ],
    [
      set('weft-uninstall'),
      uninstall,
      [
        [below(config.paths.run), '/run/weft'],
        ['/run/netns/x', '/run/netns/x'],
        ...host.map((path) => [below(path), path] as const),
        sysctl,
      ],
    ],
  ];
  for (const [one, container, paths] of tables) {
    for (const [inside, outside] of paths) {
      const found = mounted(one, container, inside);
      assert.equal(found.host, outside, `${container.name}: ${inside}`);
      assert.notEqual(found.mount.readOnly, true, `${container.name}: ${inside} is written`);
    }
    const { mount } = mounted(one, container, standardConfigPath);
    assert.equal(mount.mountPath, dirname(standardConfigPath));
    for (const path of container.volumeMounts ?? [])
      if (['/run/netns', config.host.root].includes(path.mountPath))
        assert.equal(path.mountPropagation, 'HostToContainer', `${container.name}: ${path.mountPath}`);
  }
  assert.deepEqual(uninstall.command.slice(2), [
    ...['--host-root', config.host.root, '--run-dir', below(config.paths.run)],
  ]);
  assert.equal(agent.env?.find(({ name }) => name === 'WEFT_HOST_ROOT')?.value, config.host.root);
  assert.deepEqual(agent.env?.find(({ name }) => name === 'WEFT_NODE_NAME')?.valueFrom, {
    fieldRef: { fieldPath: 'spec.nodeName' },
  });
});

test('The image has every program that the host adapter and the probes call', () => {
  const collect = text('collect.sh');
  const listed = (name: string) =>
    (new RegExp(`^${name}=\\(([^)]*)\\)$`, 'm').exec(collect)?.[1] ?? '').split(' ');
  const there = new Set([...listed('programs'), ...listed('applets')]);
  const folder = join(repositoryRoot, 'src', 'host');
  const called = readdirSync(folder).flatMap((name) =>
    [...readFileSync(join(folder, name), 'utf8').matchAll(/\brun\('([\w-]+)'/g)].map(
      ([, program]) => program!,
    ),
  );
  assert.ok(called.length > 5);
  for (const program of [...called, switch_.readinessProbe?.exec?.command[0] ?? '', 'iptables-legacy'])
    assert.ok(there.has(program), program);
  for (const container of sets.flatMap(containersOf)) {
    const [program = ''] = container.command;
    assert.ok(
      program === 'weft' || there.has(program) || program === '/weft/build/bin/weft-supervise',
      program,
    );
  }
});
