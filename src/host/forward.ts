/**
 * What others do to forwarded packets. A chain at the forward hook that drops what it has no rule for (Docker, ufw, firewalld and many a
 * hand-made firewall) drops for everyone: no table of ours can accept in its place. So weft looks for such chains.
 *
 * The chain FORWARD of iptables-nft is everybody's: there weft puts two rules of its own at the top, tagged by the comment `weft`, as any
 * CNI does. Elsewhere it says what is in the way and what to do, and changes nothing.
 */
import type { Problem } from '../errors/problem.js';
import type { Outcome, Run } from './command.js';
import { tableName } from './table.js';

const ruleComment = 'weft';

interface Chain {
  readonly family: string;
  readonly table: string;
  readonly name: string;
  readonly policy: string;
}

/** Looks at every chain at the forward hook and accepts `device` where that is ours to do. `families`: those that pods have. */
export async function acceptForwarded(
  run: Run,
  device: string,
  families: ReadonlySet<4 | 6>,
): Promise<readonly Problem[]> {
  const problems: Problem[] = [];
  for (const chain of await forwardChains(run)) {
    if (chain.family === 'ip' && !families.has(4)) continue;
    if (chain.family === 'ip6' && !families.has(6)) continue;
    const place = [chain.family, chain.table, chain.name];
    const { stdout: text } = await run('nft', ['list', 'chain', ...place]);
    if (isFirewalld(chain)) {
      const known = await run('nft', ['list', 'table', chain.family, chain.table]);
      if (!known.stdout.includes(`"${device}"`)) problems.push(firewalld(device));
      continue;
    }
    if (chain.policy !== 'drop' && !endsByRefusing(text)) continue;
    const accepts = (direction: 'iifname' | 'oifname') => hasRule(text, direction, device);
    if (accepts('iifname') && accepts('oifname')) continue;
    if (!isIptables(chain)) {
      problems.push(foreign(chain, device));
      continue;
    }
    for (const direction of ['iifname', 'oifname'] as const) {
      if (accepts(direction)) continue;
      const rule = [direction, `"${device}"`, 'counter', 'accept', 'comment', `"${ruleComment}"`];
      const { status, stderr } = await run('nft', ['insert', 'rule', ...place, ...rule]);
      if (status !== 0) problems.push({ ...foreign(chain, device), message: stderr.trim() });
    }
  }
  for (const [family, names] of [
    [4, ['iptables-legacy', '/proc/net/ip_tables_names']],
    [6, ['ip6tables-legacy', '/proc/net/ip6_tables_names']],
  ] as const) {
    if (families.has(family)) problems.push(...(await legacy(run, names[0], names[1], device)));
  }
  return problems;
}

/** Removes weft's rules from others' chains; names the chains. Idempotent. */
export async function removeForwarded(run: Run): Promise<readonly string[]> {
  const removed: string[] = [];
  for (const chain of await forwardChains(run)) {
    if (!isIptables(chain)) continue;
    const place = [chain.family, chain.table, chain.name];
    const { stdout } = await run('nft', ['-a', 'list', 'chain', ...place]);
    const handles = [...stdout.matchAll(/^.*comment "weft".* # handle (\d+)$/gm)].map(
      ([, handle]) => handle!,
    );
    for (const handle of handles) await run('nft', ['delete', 'rule', ...place, 'handle', handle]);
    if (handles.length > 0) removed.push(place.join(' '));
  }
  return removed;
}

async function forwardChains(run: Run): Promise<readonly Chain[]> {
  const { status, stdout } = await run('nft', ['-j', 'list', 'chains']);
  if (status !== 0) return [];
  const found: Chain[] = [];
  for (const entry of listOf(stdout)) {
    const chain = (entry as { readonly chain?: Readonly<Record<string, unknown>> }).chain;
    if (chain?.hook !== 'forward' || (chain.family === 'inet' && chain.table === tableName)) continue;
    const { family, table, name, policy } = chain;
    if (family !== 'ip' && family !== 'ip6' && family !== 'inet') continue;
    if (typeof table !== 'string' || typeof name !== 'string') continue;
    found.push({ family, table, name, policy: typeof policy === 'string' ? policy : 'accept' });
  }
  return found;
}

function listOf(text: string): readonly unknown[] {
  try {
    const { nftables } = JSON.parse(text) as { readonly nftables?: unknown };
    return Array.isArray(nftables) ? nftables : [];
  } catch {
    return [];
  }
}

const isIptables = ({ family, table, name }: Chain): boolean =>
  family !== 'inet' && table === 'filter' && name === 'FORWARD';
const isFirewalld = ({ table, name }: Chain): boolean => table === 'firewalld' && name === 'filter_FORWARD';

/** A rule that accepts all that goes through the device in this direction. */
function hasRule(text: string, direction: string, device: string): boolean {
  return text.split('\n').some((line) => {
    const rule = line.trim().replace(/ counter packets \d+ bytes \d+/, '');
    return rule.startsWith(`${direction} "${device}" accept`);
  });
}

/** The last rule refuses whatever came so far. */
function endsByRefusing(text: string): boolean {
  const rules = text
    .split('\n')
    .map((line) => line.trim().replace(/^counter packets \d+ bytes \d+ /, ''))
    .filter((line) => line !== '' && line !== '}');
  return /^(drop|reject)\b/.test(rules.at(-1) ?? '');
}

function foreign({ family, table, name, policy }: Chain, device: string): Problem {
  const place = `${family} ${table} ${name}`;
  return {
    code: 'host-forward-blocked',
    severity: 'error',
    message: `The nft chain "${place}" ${policy === 'drop' ? 'drops' : 'refuses'} forwarded packets that it has no rule for, those of pods among them: nothing comes in or goes out of the node.`,
    fix: `Accept them there, such as by \`nft insert rule ${place} iifname ${device} accept\` and \`nft insert rule ${place} oifname ${device} accept\`, and in the file that the chain comes from.`,
  };
}

function firewalld(device: string): Problem {
  return {
    code: 'host-forward-blocked',
    severity: 'error',
    message: `firewalld runs and does not know ${device}: it refuses what is forwarded to and from pods.`,
    fix: `Run \`firewall-cmd --permanent --zone=trusted --add-interface=${device}\` and \`firewall-cmd --reload\`.`,
  };
}

/** The old tables of iptables, which nft does not show. */
async function legacy(
  run: Run,
  program: string,
  tables: string,
  device: string,
): Promise<readonly Problem[]> {
  // Asking iptables-legacy would load the table that it is asked for.
  const { stdout: loaded } = await run('cat', [tables]);
  if (!/^filter$/m.test(loaded)) return [];
  const listed: Outcome = await run(program, ['-S', 'FORWARD']);
  const lines = listed.stdout.trim().split('\n');
  const fix = `Run \`${program} -I FORWARD -i ${device} -j ACCEPT\` and \`${program} -I FORWARD -o ${device} -j ACCEPT\`, and put both where the firewall's rules are kept.`;
  if (listed.status !== 0)
    return [
      {
        code: 'host-forward-unknown',
        severity: 'warning',
        message: `The kernel has rules of the old iptables, and ${program} is not there to read them: whether they let pods' traffic through is unknown.`,
        fix: `If pods reach nothing outside of the node: ${fix}`,
      },
    ];
  const refuses =
    lines.includes('-P FORWARD DROP') || /^-A FORWARD -j (DROP|REJECT)/.test(lines.at(-1) ?? '');
  const accepts = ['-i', '-o'].every((way) =>
    lines.some((line) => line.startsWith(`-A FORWARD ${way} ${device} `) && line.endsWith('-j ACCEPT')),
  );
  if (!refuses || accepts) return [];
  return [
    {
      code: 'host-forward-blocked',
      severity: 'error',
      message: `The chain FORWARD of ${program} drops forwarded packets that it has no rule for, those of pods among them.`,
      fix,
    },
  ];
}
