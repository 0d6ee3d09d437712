/**
 * Changes of policies and labels, one at a time, and the whole truth table after each, while other pods come and go. A table asked for
 * while a change is on its way may hold, cell by cell, what was so before or what is so after it, and nothing else; once one table was all
 * new, so are the next ones. In between the agent is killed and the API server is down: who may talk to whom stays exactly as it was.
 *
 * WEFT_TEST_CHANGES: how many changes; WEFT_TEST_SEED: which; WEFT_TEST_CHURN: how many pods come and go.
 */
import assert from 'node:assert/strict';
import { after, before, describe, type TestContext, test } from 'node:test';
import type { NodeWeft } from '../support/node-weft.js';
import {
  type Change,
  cells,
  changed,
  changes,
  firstState,
  namespaceOf,
  namespaces,
  podKeys,
  podOf,
  policyOf,
  type State,
  truth,
} from './change-world.js';
import { type Cluster, namespaceObject, podObject, type RunningPod } from './cluster.js';
import { lacksNode } from './own-cluster.js';
import { ClosedPods, kill } from './storm.js';

const churnNamespace = 'changes-churn';
const patience = 20_000; // milliseconds until a change has to be seen
const probeMilliseconds = 1500;
const starved = 5; // how often a row is asked again when its pod did not get the processor to ask

function number(name: string, otherwise: number): number {
  const value = Number(process.env[name] ?? otherwise);
  if (!Number.isInteger(value) || value < 0) throw new Error(`${name} is no number`);
  return value;
}

/** Registers the tests. `cluster` and `weft` are called when they run; `weft` is null where the node is not ours. */
export function policyChanges(cluster: () => Cluster, weft: () => NodeWeft | null, reason: string): void {
  const skip = reason !== '' ? reason : false;

  describe('changes of policies and labels', () => {
    const seed = number('WEFT_TEST_SEED', 1);
    const count = number('WEFT_TEST_CHANGES', 12);
    let pods = new Map<string, RunningPod>();
    let state = firstState;
    let next: (number: number) => Change[];
    let made = 0;
    let tables = 0;
    let askedAgain = 0;
    /** While the switch is killed, too, whoever is allowed may be denied for a moment. */
    let storm = false;

    before(async () => {
      if (reason !== '') return;
      await cluster().apply([
        ...namespaces.map((name) => namespaceOf(state, name)),
        ...podKeys.map((key) => podOf(state, key)),
      ]);
      pods = await cluster().ready(namespaces, podKeys.length);
      next = changes(seed, pods);
      const open = truth(state, pods);
      await settle(open, open);
    });
    after(async () => {
      if (reason !== '') return;
      await cluster().delete('namespaces', ...namespaces);
      await cluster().gone(namespaces);
    });

    /** A pod's answers; undefined where it did not even reach its own address, which no network has a part in. */
    async function row(key: string): Promise<boolean[] | undefined> {
      const asked = cells.filter(({ from }) => from === key);
      const targets = asked.map(
        ({ to, protocol, port }) => `${protocol.toLowerCase()}/${pods.get(to)!.ips[0]}/${port}`,
      );
      const said = await cluster().probe(pods.get(key)!, targets, probeMilliseconds);
      const allowed = asked.map(({ to }, index) => {
        const answer = said[index] ?? 'nothing';
        if (answer === 'timeout' || (storm && answer.startsWith('error'))) return false;
        assert.match(answer, new RegExp(`^ok ${to.split('/')[1]} `), `${key} → ${to}: ${answer}`);
        return true;
      });
      return asked.some(({ to }, index) => to === key && !allowed[index]) ? undefined : allowed;
    }

    /** Whether each cell was allowed, asked now. */
    async function table(): Promise<boolean[]> {
      tables++;
      const rows = await Promise.all(
        podKeys.map(async (key) => {
          for (let times = 0; times < starved; times++) {
            const found = await row(key);
            if (found !== undefined) return found;
            askedAgain++;
          }
          assert.fail(`${key} does not reach its own address`);
        }),
      );
      return rows.flat();
    }

    function wrong(found: readonly boolean[], fits: (allowed: boolean, cell: number) => boolean): string[] {
      return cells.flatMap(({ from, to, protocol, port }, index) =>
        fits(found[index]!, index)
          ? []
          : [`${from} → ${to} ${protocol} ${port} was ${found[index] ? 'allowed' : 'denied'}`],
      );
    }

    async function exactly(expected: readonly boolean[], when: string): Promise<void> {
      assert.deepEqual(
        wrong(await table(), (allowed, cell) => allowed === expected[cell]),
        [],
        when,
      );
    }

    function eitherOf(found: readonly boolean[], old: readonly boolean[], now: readonly boolean[]): void {
      assert.deepEqual(
        wrong(
          found,
          (allowed, cell) => allowed === old[cell] || allowed === now[cell] || (storm && !allowed),
        ),
        [],
        'neither before the change nor after it',
      );
    }

    /** From one truth to the other; milliseconds until the first table began that was all new. */
    async function settle(old: readonly boolean[], now: readonly boolean[]): Promise<number> {
      const began = Date.now();
      for (;;) {
        const asked = Date.now();
        const found = await table();
        eitherOf(found, old, now);
        const still = wrong(found, (allowed, cell) => allowed === now[cell]);
        if (still.length === 0) return asked - began;
        assert.ok(
          Date.now() - began < (storm ? 6 : 1) * patience,
          `still as before the change: ${still.join('; ')}`,
        );
      }
    }

    /** The next change of the seed that somebody notices. */
    function nextChange(): { readonly change: Change; readonly after: State; readonly cells: number } {
      const old = truth(state, pods);
      for (const end = made + 100; made < end; ) {
        for (const change of next(made++)) {
          if (change.kind === 'no-policy' && !(change.key in state.policies)) continue;
          const after = changed(state, change);
          const now = truth(after, pods);
          const differing = now.filter((allowed, cell) => allowed !== old[cell]).length;
          if (differing > 0) return { change, after, cells: differing };
        }
      }
      throw new Error(`no change after ${made} makes a difference`);
    }

    async function tell(change: Change, after: State): Promise<void> {
      const { key } = change;
      const [namespace = '', name = ''] = key.split('/');
      if (change.kind === 'policy') await cluster().apply([policyOf(after, key)]);
      if (change.kind === 'no-policy') await cluster().delete('networkpolicy', name, '-n', namespace);
      if (change.kind === 'pod-labels') await cluster().apply([podOf(after, key)]);
      if (change.kind === 'namespace-labels') await cluster().apply([namespaceOf(after, key)]);
    }

    /**
     * Changes, each seen before the next; one table is asked for while a change is told. `between` runs after it was told and before
     * it has to be seen.
     */
    async function change(context: TestContext, times: number, between = async () => {}): Promise<void> {
      const lags: number[] = [];
      let differing = 0;
      for (let round = 0; round < times; round++) {
        const { change, after, cells } = nextChange();
        const old = truth(state, pods);
        const now = truth(after, pods);
        try {
          state = after;
          const [during] = await Promise.all([table(), tell(change, after)]);
          eitherOf(during, old, now);
          await between();
          lags.push(await settle(old, now));
        } catch (error) {
          const history = JSON.stringify({ seed, made, change, state });
          throw new Error(`${(error as Error).message}\n${history}`);
        }
        differing += cells;
      }
      if (!storm) await exactly(truth(state, pods), 'after the last change');
      const later = lags.filter((lag) => lag > 0);
      context.diagnostic(
        `${times} changes of ${differing} cells; ${times - later.length} seen by the first table` +
          (later.length === 0 ? '' : `, the others after ${later.join(', ')} ms`),
      );
    }

    test('every table is that of before the change or that of after it', {
      skip,
      timeout: 3_600_000,
    }, async (context) => {
      await change(context, count);
      context.diagnostic(`${tables} tables of ${cells.length} cells; ${askedAgain} rows asked again`);
    });

    test('nothing else is seen while other pods come and go', {
      skip,
      timeout: 3_600_000,
    }, async (context) => {
      const churn = number('WEFT_TEST_CHURN', 8);
      let over = false;
      let waves = 0;
      // They wear the labels that the policies select.
      await cluster().apply([namespaceObject(churnNamespace, { team: 'red' })]);
      const coming = (async () => {
        do {
          const wave = Array.from({ length: churn }, (_, index) =>
            podObject({
              namespace: churnNamespace,
              name: `pod-${index}`,
              labels: { app: index % 2 === 0 ? 'one' : 'two' },
            }),
          );
          await cluster().apply(wave);
          await cluster().ready([churnNamespace], churn, 180);
          await cluster().delete('pods', '--all', '-n', churnNamespace, '--grace-period=0');
          await cluster().gone([churnNamespace], 180);
          waves++;
        } while (!over);
      })();
      // A failure of either ends both.
      let failed = false;
      coming.catch(() => {
        failed = true;
      });
      try {
        do await change(context, Math.max(1, Math.floor(count / 3)));
        while (waves === 0 && !failed);
      } finally {
        over = true;
        await coming.finally(() => cluster().delete('namespace', churnNamespace));
        await cluster().gone([churnNamespace]);
      }
      context.diagnostic(`${waves} times ${churn} pods came and went; ${askedAgain} rows asked again`);
    });

    test('a pod made anew under its name is judged by its labels, and never too kindly', {
      skip,
      timeout: 300_000,
    }, async (context) => {
      for (const key of podKeys.slice(0, 2)) {
        const [namespace = '', name = ''] = key.split('/');
        await cluster().kubectl(['delete', 'pod', name, '-n', namespace, '--grace-period=0', '--wait']);
        await cluster().apply([podOf(state, key)]);
        pods = await cluster().ready(namespaces, podKeys.length);
        const now = truth(state, pods);
        // Isolation is there before its containers run; what is allowed may come later.
        const least = now.map(
          (allowed, cell) => allowed && cells[cell]!.from !== key && cells[cell]!.to !== key,
        );
        context.diagnostic(`${key}: seen after ${await settle(least, now)} ms`);
      }
      await change(context, 2);
    });

    const skipNode = skip !== false ? skip : lacksNode;

    test('a change made while no agent runs is not seen, and all of it with the next agent', {
      skip: skipNode,
    }, async (context) => {
      const node = weft()!;
      const old = truth(state, pods);
      await node.killAgent();
      try {
        await exactly(old, 'without an agent');
        await change(context, 1, async () => {
          await exactly(old, 'a change without an agent');
          await node.startAgent();
        });
      } finally {
        if (!node.machine.runs('agent')) await node.startAgent();
      }
      await change(context, 2);
    });

    test('while agent, switch and supervisor are killed nothing gets through that no state lets through', {
      skip: skipNode,
      timeout: 600_000,
    }, async (context) => {
      const isolated = await ClosedPods.start(cluster());
      let over = false;
      let waves = 0;
      let answers = 0;
      storm = true;
      const killing = kill(weft()!, 1500);
      const coming = (async () => {
        do answers += await isolated.wave(6);
        while (++waves > 0 && !over);
      })();
      coming.catch(() => {});
      try {
        await change(context, Math.max(3, Math.floor(count / 2)));
        over = true;
        await coming;
        context.diagnostic(`${await killing.end()} kills; ${waves} times 6 isolated pods came and went`);
      } finally {
        over = true;
        await Promise.allSettled([coming, killing.end()]);
        storm = false;
        await isolated.end();
      }
      assert.ok(answers > 0, 'a pod that nothing isolates is answered');
      await exactly(truth(state, pods), 'after the storm');
    });

    test('nothing changes while the API server is away, and changes are seen when it is back', {
      skip: skipNode,
      timeout: 300_000,
    }, async (context) => {
      const own = cluster().own!;
      await own.kill();
      const away = exactly(truth(state, pods), 'without an API server');
      await away.catch(() => {});
      const back = own.run();
      let up = false;
      const watched = (async () => {
        do await exactly(truth(state, pods), 'while the API server comes back');
        while (!up);
      })();
      try {
        await back;
      } finally {
        up = true;
        await watched;
      }
      await away;
      await change(context, 2);
    });
  });
}
