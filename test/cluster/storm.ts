/**
 * What a storm of kills must not open (changes.ts): the killer of agent, switch and supervisor, and pods that begin in the middle of it under
 * a policy that was there long before them, which try to get out from their first instruction on.
 */
import assert from 'node:assert/strict';
import { podProgram } from '../support/container-image.js';
import type { NodeWeft } from '../support/node-weft.js';
import { type Cluster, namespaceObject, podObject, policyObject, testImage } from './cluster.js';

const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Kills one after the other until `end` is called, which resolves with how often; a victim that does not come back rejects there. */
export function kill(weft: NodeWeft, every: number): { end(): Promise<number> } {
  let over = false;
  let kills = 0;
  const victims = [
    () => weft.crashAgent(),
    () => weft.killSwitch(),
    () => weft.crashSupervisor(),
    // One without the other: what a switch remembers is all that there is.
    async () => {
      await weft.killAgent();
      await weft.killSwitch();
      await pause(1000);
      await weft.startAgent();
    },
  ];
  const killing = (async () => {
    for (; !over; kills++) {
      await victims[kills % victims.length]!();
      await weft.agentSynced();
      await pause(every);
    }
  })();
  killing.catch(() => {});
  return {
    end: async () => {
      over = true;
      await killing;
      return kills;
    },
  };
}

const closed = 'storm-closed';
const open = 'storm-open';
/** How often a pod asks before its own container runs. */
const questions = 3;

/** Pods of an isolated namespace, a few at a time, beside one that is isolated by nothing. */
export class ClosedPods {
  readonly #cluster: Cluster;
  #target = '';

  private constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  /** Resolves when the policy is in force. */
  static async start(cluster: Cluster): Promise<ClosedPods> {
    const self = new ClosedPods(cluster);
    await cluster.apply([
      namespaceObject(open),
      namespaceObject(closed),
      podObject({ namespace: open, name: 'server', serve: ['tcp/80'] }),
      podObject({ namespace: closed, name: 'first' }),
      policyObject(closed, 'closed', { podSelector: {}, policyTypes: ['Ingress', 'Egress'] }),
    ]);
    const pods = await cluster.ready([open, closed], 2);
    self.#target = `tcp/${pods.get(`${open}/server`)!.ips[0]}/80`;
    const first = pods.get(`${closed}/first`)!;
    await cluster.probesUntil('the policy is in force', first, self.#target, (said) => said === 'timeout');
    return self;
  }

  /** `count` of them come, ask and go; those of the open namespace too. Resolves with how many answers the open ones got. */
  async wave(count: number): Promise<number> {
    const initContainers = Array.from({ length: questions }, (_, index) => ({
      name: `ask-${index}`,
      image: testImage,
      imagePullPolicy: 'IfNotPresent',
      command: [podProgram, 'probe', '400', this.#target],
    }));
    const wish = (namespace: string, name: string) =>
      podObject({ namespace, name, spec: { initContainers } });
    const names = Array.from({ length: count }, (_, index) => `pod-${index}`);
    await this.#cluster.apply([...names.map((name) => wish(closed, name)), wish(open, 'pod')]);
    await this.#cluster.ready([closed, open], names.length + 3, 240);
    const said = this.#said(closed);
    assert.equal(said.length, count * questions, 'every question has its answer');
    assert.deepEqual(
      said.filter((line) => /stdout F ok /.test(line)),
      [],
      'a pod got out of an isolated namespace',
    );
    const got = this.#said(open).filter((line) => /stdout F ok server /.test(line)).length;
    await this.#cluster.delete('pods', ...names, '-n', closed, '--grace-period=0');
    await this.#cluster.delete('pod', 'pod', '-n', open, '--grace-period=0');
    // The lasting one of each stays.
    await this.#cluster.ready([closed, open], 2, 240);
    return got;
  }

  async end(): Promise<void> {
    await this.#cluster.delete('namespaces', open, closed);
    await this.#cluster.gone([open, closed], 240);
  }

  /** Lines of the kubelet's logs. */
  #said(namespace: string): string[] {
    const files = `/var/log/pods/${namespace}_pod*/ask-*/*.log`;
    const { stdout } = this.#cluster.own!.machine.try(['sh', '-c', `cat ${files}`]);
    return stdout.split('\n').filter((line) => line !== '');
  }
}
