/** A cluster for commands from afar: an API server double that runs the real relay beside two real agents. */
import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { eventually, fixture, podManifest, policyManifest } from './agent-fixture.js';
import type { ApiServer } from './api-server.js';
import { authority } from './certificate.js';
import { ExecEndpoint } from './exec-endpoint.js';
import { apiServer } from './kube.js';

const entry = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));

/** A `weft` that runs. */
export interface Command {
  readonly child: ChildProcess;
  readonly out: () => string;
  readonly err: () => string;
  readonly ended: Promise<number | null>;
}

/** `home`: where ~/.kube/config would be. */
export function start(home: string, args: readonly string[], environment: NodeJS.ProcessEnv = {}): Command {
  const { KUBECONFIG: _, WEFT_RUN_DIR: __, ...inherited } = process.env;
  const child = spawn(process.execPath, [entry, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...inherited, HOME: home, ...environment },
  });
  const text = { out: '', err: '' };
  child.stdout.on('data', (chunk: Buffer) => {
    text.out += chunk.toString();
  });
  child.stderr.on('data', (chunk: Buffer) => {
    text.err += chunk.toString();
  });
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  return { child, out: () => text.out, err: () => text.err, ended };
}

export function agentPod(node: string, phase = 'Running') {
  return {
    metadata: {
      namespace: 'kube-system',
      name: `weft-${node}`,
      labels: { 'app.kubernetes.io/name': 'weft', 'app.kubernetes.io/component': 'agent' },
    },
    spec: { nodeName: node, containers: [{ name: 'switch' }, { name: 'agent' }] },
    status: { phase, containerStatuses: [{ name: 'agent', state: { running: {} } }] },
  };
}

/** Two nodes with an agent each and a pod on each. */
export async function farCluster(t: TestContext, tls = false) {
  const home = mkdtempSync(join(tmpdir(), 'weft-far-'));
  t.after(() => rmSync(home, { recursive: true, force: true }));
  const trusted = authority();
  const { certificate, key } = trusted.server();
  const server = await apiServer(t, tls ? { tls: { cert: certificate, key } } : {});
  const config = (ca: string, file = 'config') => {
    const path = join(home, file);
    const authorityData = tls ? `certificate-authority-data: ${Buffer.from(ca).toString('base64')}` : '';
    writeFileSync(
      path,
      `current-context: here
contexts: [{ name: here, context: { cluster: k, user: u } }]
clusters: [{ name: k, cluster: { server: '${server.url}', ${authorityData} } }]
users: [{ name: u, user: { token: secret } }]
`,
    );
    return path;
  };
  server.tokens = new Set(['secret']);
  const nodes = new Map<string, Awaited<ReturnType<typeof node>>>();
  for (const [name, pod] of [
    ['one', 'web'],
    ['two', 'db'],
  ] as const)
    nodes.set(name, await node(t, server, name, pod));
  const endpoint = new ExecEndpoint(server, ({ pod, container, command }) => {
    const run = nodes.get(pod.replace('weft-', ''))?.f.run;
    if (run === undefined || container !== 'agent') return null;
    if (command[0] === 'weft') return [process.execPath, entry, ...command.slice(1), '--run-dir', run];
    // As in the image: a shell, and weft on the PATH.
    return command[0] === 'sh'
      ? ['env', `PATH=${binFolder(home, run)}:${process.env.PATH}`, ...command]
      : null;
  });
  const file = config(trusted.ca);
  return {
    server,
    endpoint,
    home,
    nodes,
    config,
    file,
    weft: (...args: string[]) =>
      start(home, args.includes('--kubeconfig') ? args : [...args, '--kubeconfig', file]),
  };
}

function binFolder(home: string, run: string): string {
  const folder = join(home, 'bin', basename(run));
  mkdirSync(folder, { recursive: true });
  const file = join(folder, 'weft');
  writeFileSync(
    file,
    `#!/bin/sh\nexec '${process.execPath}' '${entry}' "$@" --run-dir '${run}' --root '${run}'\n`,
  );
  chmodSync(file, 0o755);
  return folder;
}

async function node(t: TestContext, server: ApiServer, name: string, pod: string) {
  const f = fixture(t);
  f.write('all.yaml', podManifest('shop', pod) + policyManifest('shop', `deny-${name}`));
  const double = await f.startSwitch();
  const running = await f.startAgent({
    node: { name, addresses: [name === 'one' ? '192.0.2.1' : '192.0.2.2'] },
  });
  const client = await f.client();
  const netns = `/run/netns/${pod}`;
  await client.request('attach', { namespace: 'shop', name: pod, uid: '', netns, ifname: 'eth0' });
  await eventually('the agent reads flows', () => double.subscriptions.includes('flows'));
  server.put('pods', agentPod(name));
  server.put('pods', { metadata: { namespace: 'shop', name: pod }, spec: { nodeName: name } });
  return { f, double, running };
}
