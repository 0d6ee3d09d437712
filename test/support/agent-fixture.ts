/** An agent in this process with a switch double beside it, in a directory of its own; everything ends with the test. */

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { AgentClient } from '../../src/agent/client.js';
import type { Compile } from '../../src/agent/compile.js';
import { type RunningAgent, startAgent } from '../../src/agent/process.js';
import type { Config } from '../../src/config/options.js';
import { defaultConfig, type Overrides, overrideConfig } from '../../src/config/parse.js';
import { loadAddon } from '../../src/dataplane/addon.js';
import { openLog } from '../../src/telemetry/log.js';
import { SwitchDouble } from './switch-double.js';

/** An image that a test can read: the sorted names of all pods and policies, local pods with their addresses. */
export const readableCompile: Compile = ({ world, localPods }) => {
  const pods = [...world.all('pod')].map(
    ([key, pod]) =>
      `${localPods.has(key) ? 'local' : 'pod'} ${key} ${pod.addresses.map(({ text }) => text).join(' ')}`,
  );
  const policies = [...world.all('policy').keys()].map((key) => `policy ${key}`);
  return {
    bytes: Buffer.from(
      [...pods, ...policies]
        .map((line) => line.trim())
        .sort()
        .join('\n'),
    ),
    figures: { identities: pods.length, classes: pods.length, programs: localPods.size, services: 0 },
    problems: [],
  };
};

export interface Fixture {
  readonly run: string;
  readonly manifests: string;
  readonly switchPath: string;
  write(name: string, text: string): void;
  remove(name: string): void;
  startSwitch(predecessor?: SwitchDouble): Promise<SwitchDouble>;
  startAgent(overrides?: Overrides<Config>, compile?: Compile): Promise<RunningAgent>;
  client(): Promise<AgentClient>;
}

export function fixture(context: TestContext): Fixture {
  const run = mkdtempSync(join(tmpdir(), 'weft-agent-'));
  const manifests = join(run, 'manifests');
  mkdirSync(manifests);
  const switchPath = join(run, 'switch.sock');
  const ends: (() => Promise<void> | void)[] = [];
  context.after(async () => {
    for (const end of ends.reverse()) await end();
    rmSync(run, { recursive: true, force: true });
  });
  return {
    run,
    manifests,
    switchPath,
    write: (name, text) => writeFileSync(join(manifests, name), text),
    remove: (name) => rmSync(join(manifests, name)),
    startSwitch: async (predecessor) => {
      const double = await SwitchDouble.start(switchPath, predecessor);
      ends.push(() => double.kill().catch(() => {}));
      return double;
    },
    startAgent: async (overrides = {}, compile = readableCompile) => {
      const all = {
        paths: { run },
        kubernetes: { mode: 'off' as const },
        telemetry: { enabled: false },
        node: { name: 'here', addresses: ['192.0.2.1'] },
        agent: { tick: 1000, reconnect: 20_000 },
        ...overrides,
      };
      const agent = await startAgent({
        configPath: undefined,
        overrides: all,
        config: overrideConfig(defaultConfig(), all),
        compile,
        takeLock: loadAddon().lockFile,
        identifyPeer: () => ({ pid: process.pid, uid: process.getuid?.() ?? 0 }),
        log: openLog('agent', { level: process.env.WEFT_TEST_LOG ?? 'silent', format: 'json' }),
        version: 'test',
      });
      ends.push(() => agent.stop());
      return agent;
    },
    client: async () => {
      const client = await AgentClient.open(join(run, 'agent.sock'));
      ends.push(() => client.close());
      return client;
    },
  };
}

/** Resolves when the condition holds; fails with the name of what was awaited. */
export async function eventually(what: string, holds: () => boolean, milliseconds = 5000): Promise<void> {
  const end = performance.now() + milliseconds;
  while (!holds()) {
    if (performance.now() > end) throw new Error(`it never happened: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

export function podManifest(namespace: string, name: string, extra = ''): string {
  return `apiVersion: v1
kind: Pod
metadata: { namespace: ${namespace}, name: ${name}, labels: { app: ${name} } }
spec: { containers: [{ name: main, image: none }] }
${extra}---
`;
}

export function policyManifest(namespace: string, name: string): string {
  return `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { namespace: ${namespace}, name: ${name} }
spec: { podSelector: {}, policyTypes: [Ingress] }
---
`;
}
