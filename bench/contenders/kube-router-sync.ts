/**
 * What K3s' policy controller does when a policy changes: a full sync (kube-router v2.6, fullPolicySync). Whatever changed, it looks up its standing
 * chains and rules one by one, saves the filter table and all sets, fills every set anew under a temporary name and swaps it in, builds every
 * chain anew under a name with the time in it, loads the whole filter table in one transaction and destroys the sets that nothing uses any
 * more. The same programs are run here in the same order with the same input.
 *
 * What the controller computes in between is left out but for the text that it has to make: in Go it searches every line of the table for
 * every stale chain, which at 1,000 policies is more than ten million searches. The change itself arrives here by a function call, not from the
 * API server. Both favour it.
 */
import { createHash } from 'node:crypto';
import {
  type AddressSet,
  acceptComment,
  firstSetOptions,
  kubeRouterState,
  standingChains,
  standingRules,
} from './kube-router.js';
import { run } from './site.js';
import type { KernelRunning } from './veth.js';
import type { BenchWorld } from './world.js';

/** Milliseconds since the sync began. */
export interface SyncTimes {
  /** The new rules were in force: `iptables-restore` had ended. */
  readonly inForce: number;
  /** The stale sets were gone too; the next sync may begin. */
  readonly total: number;
}

/** Brings the node of a `kube-router-N` contender to the world. One at a time for each node, as the controller does. */
export async function resync(running: KernelRunning, world: BenchWorld): Promise<SyncTimes> {
  const { node: netns } = running;
  const began = performance.now();
  const version = `${process.hrtime.bigint()}`;
  await lookUpStanding(netns);
  const saved = await run('iptables-save', ['-t', 'filter'], { netns });
  const options = savedOptions(await run('ipset', ['save'], { netns }));
  const { sets, filter } = kubeRouterState(world, version);
  await run('ipset', ['restore', '-exist'], { netns, input: swappedSets(sets, options) });
  await run('iptables', ['-t', 'filter', '-S', '--wait'], { netns });
  const kept = keptLines(saved);
  const input = [
    '*filter',
    ...kept.filter((line) => line.startsWith(':')),
    ...filter.chains.map((chain) => `:${chain} - [0:0]`),
    ...kept.filter((line) => line.startsWith('-')),
    ...filter.rules,
    'COMMIT\n',
  ].join('\n');
  await run('iptables-restore', ['--wait', '-T', 'filter'], { netns, input });
  const inForce = performance.now() - began;
  await destroyStale(netns, sets);
  return { inForce, total: performance.now() - began };
}

/** The world with the server's policies allowing the bench's traffic, or nothing: a change for `resync`. */
export function withServer(world: BenchWorld, open: boolean): BenchWorld {
  if (open) return world;
  const policies = world.policies.map((policy) =>
    policy.targets.includes(world.server) && policy.rule?.peers.includes(world.client)
      ? { ...policy, rule: null }
      : policy,
  );
  return { ...world, policies };
}

/** ensureTopLevelChains and its fellows: each chain, each rule and most chains' lists by a command of its own. */
async function lookUpStanding(netns: string): Promise<void> {
  const filter = (...words: readonly string[]) =>
    run('iptables', ['-t', 'filter', ...words, '--wait'], { netns });
  for (const chain of standingChains().chains) await filter('-S', chain, '1');
  for (const { chain, rule } of standingRules()) {
    await filter('-C', chain, ...words(rule));
    // Rules with a position are looked for in the list as well.
    if (!chain.startsWith('KUBE-NWPLCY-')) await filter('-S', chain);
  }
}

/** The words of a rule, without the quotes around comments. */
function words(rule: string): readonly string[] {
  return [...rule.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain ?? '');
}

/** What stays of the table as saved: no chain of an earlier version, no rule that refers to one, none of those that go to the end. */
function keptLines(saved: string): readonly string[] {
  const stale = /KUBE-(POD-FW|NWPLCY)-[A-Z2-7]{16}\b/;
  return saved
    .split('\n')
    .filter((line) => /^[:-]/.test(line) && !stale.test(line) && !line.includes(acceptComment));
}

/** What each set was created with, from `ipset save`; without the hash's initial value, which would make every set's options its own. */
function savedOptions(saved: string): ReadonlyMap<string, string> {
  const options = new Map<string, string>();
  for (const line of saved.split('\n')) {
    const [, name, rest] = /^create (\S+) (.*)$/.exec(line) ?? [];
    if (name !== undefined && rest !== undefined)
      options.set(name, rest.replace(/ initval \S+/, '').trimEnd());
  }
  return options;
}

/** Text for `ipset restore`: one temporary set for each kind of options, filled and swapped for every set in turn. */
function swappedSets(sets: readonly AddressSet[], options: ReadonlyMap<string, string>): string {
  const temporaries = new Map<string, string>();
  const lines: string[] = [];
  for (const { name, members } of [...sets].sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const created = options.get(name) ?? firstSetOptions;
    let temporary = temporaries.get(created);
    if (temporary === undefined) {
      const hash = createHash('sha1').update(`tmp:${created}`).digest('hex').slice(0, 16);
      temporary = `TMP-${hash.toUpperCase()}`;
      temporaries.set(created, temporary);
      lines.push(`create ${temporary} ${created}`, `flush ${temporary}`);
    }
    for (const member of members) lines.push(`add ${temporary} ${member} timeout 0`);
    lines.push(`create ${name} ${created}`, `swap ${temporary} ${name}`, `flush ${temporary}`);
  }
  for (const temporary of [...temporaries.values()].sort()) lines.push(`destroy ${temporary}`);
  return `${lines.join('\n')}\n`;
}

async function destroyStale(netns: string, sets: readonly AddressSet[]): Promise<void> {
  const active = new Set(sets.map(({ name }) => name));
  for (const name of savedOptions(await run('ipset', ['save'], { netns })).keys()) {
    if (/^KUBE-(SRC|DST)-/.test(name) && !active.has(name)) await run('ipset', ['destroy', name], { netns });
  }
}
