/**
 * Measures the control of one node on a cluster of the size of scale-world.ts: real agent, real switch, real pods with traffic, the API over
 * HTTP. Prints one JSON object a line. Needs root; asserts nothing, figures are of the machine that it runs on:
 *
 *     node dist/test/support/control-scale.js [start|commands|STORM…]
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { StatusAnswer } from '../../src/agent/protocol/answers.js';
import { maxLineBytes } from '../../src/agent/protocol.js';
import { LineClient } from '../../src/lab/line-client.js';
import type { ApiObject, ApiServer } from './api-server.js';
import { TestNode } from './node.js';
import { localPods, policyObject, type ScaleRequest, type Storm, storms } from './scale-world.js';
import { endTalkers, pause, Talker } from './talk.js';

const kinds: Readonly<Record<string, string>> = {
  Namespace: 'namespaces',
  Pod: 'pods',
  NetworkPolicy: 'networkpolicies',
  Service: 'services',
};

/** Changes a second of a storm. */
const rates: Readonly<Record<Storm, number>> = {
  policies: 1000,
  namespaces: 1000,
  relabel: 2000,
  roll: 200,
  idle: 200,
};

function say(figures: object): void {
  console.log(JSON.stringify(figures));
}

class Server {
  readonly url: string;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, url: string) {
    this.#child = child;
    this.url = url;
  }

  static async start(): Promise<Server> {
    const child = fork(fileURLToPath(new URL('./scale-world.js', import.meta.url)), {
      execArgv: ['--max-old-space-size=3000'],
    });
    const [{ url }] = (await once(child, 'message')) as [{ url: string }];
    return new Server(child, url);
  }

  async ask(request: ScaleRequest): Promise<{ readonly seconds: number }> {
    const answer = once(this.#child, 'message');
    this.#child.send(request);
    const [done] = (await answer) as [{ seconds: number }];
    return done;
  }

  end(): void {
    this.#child.kill('SIGKILL');
  }
}

function memory(pid: number): { readonly peakMB: number; readonly residentMB: number } {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const megabytes = (field: string) =>
    Math.round(Number(new RegExp(`${field}:\\s+(\\d+)`).exec(status)?.[1] ?? 0) / 1024);
  return { peakMB: megabytes('VmHWM'), residentMB: megabytes('VmRSS') };
}

function processorSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

function quantiles(times: readonly number[]): {
  readonly count: number;
  readonly p50: number;
  readonly worst: number;
} {
  const sorted = [...times].sort((a, b) => a - b);
  return {
    count: sorted.length,
    p50: Math.round(sorted[sorted.length >> 1] ?? 0),
    worst: Math.round(sorted.at(-1) ?? 0),
  };
}

class Scale {
  readonly #server: Server;
  readonly #node: TestNode;
  readonly #stalls: string;

  constructor(server: Server, node: TestNode, stalls: string) {
    this.#server = server;
    this.#node = node;
    this.#stalls = stalls;
  }

  get #pid(): number {
    return this.#node.child('agent').pid!;
  }

  /** Milliseconds that the agent's event loop was held, since `after` (of Date.now). */
  #stallsSince(after: number): readonly number[] {
    const text = existsSync(this.#stalls) ? readFileSync(this.#stalls, 'utf8') : '';
    return text
      .trim()
      .split('\n')
      .map((line) => line.split(' ').map(Number) as [number, number])
      .filter(([at]) => at >= after - 50)
      .map(([, held]) => held);
  }

  async status(client: LineClient = this.#node.agent): Promise<StatusAnswer> {
    return (await client.request('status', {})) as unknown as StatusAnswer;
  }

  /** Time to the first published state, with `status` asked all the while. */
  async start(): Promise<void> {
    const began = performance.now();
    const at = Date.now();
    await this.#node.startAgent();
    const times: number[] = [];
    for (;;) {
      const asked = performance.now();
      const { ready } = await this.status();
      times.push(performance.now() - asked);
      if (ready) break;
      await pause(5);
    }
    const seconds = (performance.now() - began) / 1000;
    const processor = processorSeconds(this.#pid);
    const { peakMB } = memory(this.#pid);
    await pause(5000);
    const { counts, compile } = await this.status();
    say({
      what: 'start',
      seconds,
      processor,
      peakMB,
      settledMB: memory(this.#pid).residentMB,
      stalls: [...this.#stallsSince(at)].sort((a, b) => b - a).slice(0, 6),
      statusAnswers: quantiles(times),
      counts,
      compile,
    });
  }

  /** What a request makes the agent do: its time, and how long others waited meanwhile. */
  async command(type: string, fields: object, times = 5): Promise<void> {
    const at = Date.now();
    const took: number[] = [];
    const before = processorSeconds(this.#pid);
    for (let i = 0; i < times; i++) {
      const asked = performance.now();
      await this.#node.agent
        .request(type, fields)
        .catch((error: Error) => say({ type, error: error.message }));
      took.push(performance.now() - asked);
      await pause(50);
    }
    await pause(50);
    say({
      what: type,
      milliseconds: quantiles(took),
      processorEach: (processorSeconds(this.#pid) - before) / times,
      stalls: this.#stallsSince(at),
    });
  }

  async commands(): Promise<void> {
    const question = {
      from: { kind: 'pod', namespace: 'test', name: 'good' },
      to: { kind: 'pod', namespace: 'test', name: 'server' },
      port: 80,
      protocol: 'TCP',
    };
    await this.command('why', question);
    await this.command('why', { ...question, to: { kind: 'service', namespace: 'rolling', name: 'roll' } });
    for (const type of ['status', 'ports', 'connections', 'metrics']) await this.command(type, {});
    await this.command('flows', { follow: false }, 1);
    await this.command('flows', { follow: false, drops: true }, 1);
    await this.command('sync', {}, 2);
    await this.#trial();
  }

  async #trial(): Promise<void> {
    const at = Date.now();
    const client = await LineClient.connect(join(this.#node.run, 'agent.sock'), {
      maximumLine: maxLineBytes,
    });
    const policy = policyObject(0, 1);
    const text = JSON.stringify({ apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy', ...policy });
    const asked = performance.now();
    await client.follow('trial', { manifests: [{ file: 'x.json', text }], remove: [], seconds: 5 }, () => {});
    const milliseconds = Math.round(performance.now() - asked);
    await pause(500);
    say({ what: 'trial', milliseconds, stalls: this.#stallsSince(at), ...memory(this.#pid) });
    client.close();
    await pause(300);
  }

  /** A storm beside traffic and questions; `lag`: from its end until a policy that came last is in force, by the switch's word. */
  async storm(storm: Storm): Promise<void> {
    const { v4 } = this.#node.pod('server');
    const beat = await Talker.start(this.#node, 'good', 'heartbeat', v4, 5006, 5);
    const knock = await Talker.start(this.#node, 'good', 'knock', v4, 80);
    await pause(500);
    await beat.report();
    const before = await this.status();
    const processor = processorSeconds(this.#pid);
    const rssBefore = memory(this.#pid);
    const at = Date.now();
    const asker = await LineClient.connect(join(this.#node.run, 'agent.sock'), { maximumLine: maxLineBytes });
    const times: number[] = [];
    let over = false;
    const asking = (async () => {
      while (!over) {
        const asked = performance.now();
        await this.status(asker);
        times.push(performance.now() - asked);
        await pause(20);
      }
    })();
    const { seconds } = await this.#server.ask({ storm, perSecond: rates[storm] });
    const ended = performance.now();
    const lag = await this.#turn(true).then(() => performance.now() - ended);
    const undone = performance.now();
    await this.#turn(false);
    const quietLag = performance.now() - undone;
    over = true;
    await asking;
    const after = await this.status();
    const { sent, heard, slowest } = await beat.stop();
    const { tries, inside } = await knock.stop();
    say({
      what: storm,
      stormSeconds: Number(seconds.toFixed(2)),
      lag: Math.round(lag),
      quietLag: Math.round(quietLag),
      processor: Number((processorSeconds(this.#pid) - processor).toFixed(2)),
      compiles: after.compile.count - before.compile.count,
      lastCompile: Math.round(after.compile.lastMilliseconds),
      revisions: after.revision - before.revision,
      statusAnswers: quantiles(times),
      stalls: [...this.#stallsSince(at)].sort((a, b) => b - a).slice(0, 6),
      established: { sent, heard, slowest },
      fresh: { tries, inside },
      memory: { before: rssBefore.residentMB, after: memory(this.#pid) },
    });
    asker.close();
    await endTalkers();
    await this.echo();
    await pause(3000);
    say({ what: `${storm} settled`, ...memory(this.#pid) });
  }

  /** Denies or allows `bad` at the server; resolves when the switch says so. */
  async #turn(denied: boolean): Promise<void> {
    const policy: ApiObject = {
      metadata: { namespace: 'test', name: 'only' },
      spec: {
        podSelector: { matchLabels: { name: 'server' } },
        policyTypes: ['Ingress'],
        ingress: [{ from: [{ podSelector: { matchLabels: denied ? { name: 'good' } : {} } }] }],
      },
    };
    await this.#server.ask({ put: 'networkpolicies', objects: [policy] });
    const [from, to] = ['bad', 'server'].map((name) => this.#node.pod(name).v4);
    for (;;) {
      const report = await this.#node.query('explain', {
        flow: { source: from, destination: to, protocol: 6, port: 80 },
      });
      const reason = report.ways[0]?.reason;
      if ((reason !== undefined) === denied) return;
      await pause(2);
    }
  }

  async echo(): Promise<void> {
    await Talker.start(this.#node, 'server', 'echo', 5006);
  }
}

async function main(): Promise<void> {
  const wanted = process.argv.slice(2);
  const folder = mkdtempSync(join(tmpdir(), 'weft-control-scale-'));
  const stalls = join(folder, 'stalls');
  const server = await Server.start();
  let node: TestNode | null = null;
  try {
    say({ what: 'server', ...memory(process.pid) });
    const kubeconfig = join(folder, 'kubeconfig');
    writeFileSync(
      kubeconfig,
      JSON.stringify({
        'current-context': 'c',
        contexts: [{ name: 'c', context: { cluster: 'c', user: 'u' } }],
        clusters: [{ name: 'c', cluster: { server: server.url } }],
        users: [{ name: 'u', user: {} }],
      }),
    );
    const become = async (items: readonly ApiObject[]): Promise<void> => {
      for (const object of items) await server.ask({ put: kinds[object.kind!]!, objects: [object] });
    };
    let put = Promise.resolve();
    const api = {
      become: (items: readonly ApiObject[]) => {
        put = put.then(() => become(items));
      },
    };
    process.env.WEFT_STALLS = stalls;
    process.env.NODE_OPTIONS = [
      `--import=${new URL('./stall-watch.js', import.meta.url).href}`,
      process.env.WEFT_AGENT_OPTIONS ?? '',
    ].join(' ');
    node = await TestNode.start({
      agent: false,
      api: api as unknown as ApiServer,
      config: { kubernetes: { mode: 'auto', kubeconfig, server: server.url } },
    });
    const scale = new Scale(server, node, stalls);
    await scale.start();
    const locals = Array.from(
      { length: localPods },
      (_, i) => [`local-${i}`, { labels: { slot: `slot-${i}` } }] as const,
    );
    await node.addPods({
      server: { ports: ['80/TCP'] },
      good: {},
      bad: {},
      ...Object.fromEntries(process.env.WEFT_FEW_PODS === undefined ? locals : []),
    });
    await put;
    await scale.echo();
    if (wanted.length === 0 || wanted.includes('restart')) {
      await node.killAgent();
      await scale.start();
    }
    if (wanted.length === 0 || wanted.includes('commands')) await scale.commands();
    for (const storm of storms) if (wanted.length === 0 || wanted.includes(storm)) await scale.storm(storm);
  } finally {
    await endTalkers();
    await node?.end();
    server.end();
    rmSync(folder, { recursive: true, force: true });
  }
}

await main();
