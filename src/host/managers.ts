/**
 * Network managers take interfaces that they do not know for theirs: they give weft0 an address, remove its routes, or ask for DHCP on it.
 * Each that is present is told to leave it alone, in a file of its own where it reads such files.
 */
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Problem } from '../errors/problem.js';
import type { Run } from './command.js';

interface Manager {
  readonly name: string;
  /** Any of these is there: the manager is. */
  readonly signs: readonly string[];
  readonly file: string;
  /** The whole file, or lines to put between two marks before what others wrote. */
  readonly content: (device: string) => string;
  readonly inserted?: boolean;
  /** Has it read its files again. Without the program, or where there is none, it does so at its next start. */
  readonly reload?: readonly string[];
}

const begin = '# weft: begin';
const end = '# weft: end';

const managers: readonly Manager[] = [
  {
    name: 'NetworkManager',
    signs: ['/run/NetworkManager', '/etc/NetworkManager'],
    file: '/etc/NetworkManager/conf.d/90-weft.conf',
    content: (device) =>
      `# Written by weft; removed by \`weft uninstall\`.\n[keyfile]\nunmanaged-devices+=interface-name:${device}\n`,
    reload: ['nmcli', 'general', 'reload', 'conf'],
  },
  {
    name: 'systemd-networkd',
    signs: ['/run/systemd/netif'],
    file: '/etc/systemd/network/05-weft.network',
    content: (device) =>
      `# Written by weft; removed by \`weft uninstall\`.\n[Match]\nName=${device}\n\n[Link]\nUnmanaged=yes\n`,
    reload: ['networkctl', 'reload'],
  },
  // At the head, because a line after `interface NAME` is of that interface alone, and dhcpcd does not read it for others. It is not told to
  // read the file again (dhcpcd --rebind): it would give up the leases of all interfaces, static addresses too, and the host would be
  // without its own for seconds, or longer where the DHCP server is away. Since version 9 it leaves TAPs alone by itself.
  {
    name: 'dhcpcd',
    signs: ['/etc/dhcpcd.conf'],
    file: '/etc/dhcpcd.conf',
    content: (device) => `denyinterfaces ${device}\n`,
    inserted: true,
  },
];

/** `root`: where the host's file system is seen. Tells those that are present; says which files are new. */
export async function tellManagers(
  root: string,
  device: string,
  run: Run,
): Promise<{ readonly written: readonly string[]; readonly problems: readonly Problem[] }> {
  const written: string[] = [];
  const problems: Problem[] = [];
  for (const manager of managers) {
    if (!manager.signs.some((sign) => existsSync(join(root, sign)))) continue;
    const path = join(root, manager.file);
    const before = textOf(path) ?? '';
    const after = manager.inserted ? withBlock(before, manager.content(device)) : manager.content(device);
    if (before === after) continue;
    try {
      mkdirSync(dirname(path), { recursive: true });
      replace(path, after);
      written.push(manager.file);
    } catch (error) {
      problems.push({
        code: 'host-manager-file',
        severity: 'warning',
        message: `${manager.name} cannot be told to leave ${device} alone: ${path} cannot be written (${(error as NodeJS.ErrnoException).code}).`,
        fix: `Write it on the node yourself: ${manager.content(device).replaceAll('\n', ' ')}`,
      });
      continue;
    }
    const [command, ...args] = manager.reload ?? [];
    // Of another host's programs there are none; it then reads the file when it starts next.
    if (root === '/' && command !== undefined) await run(command, args);
  }
  return { written, problems };
}

/** Undoes `tellManagers`; the files that were removed or changed. Idempotent. */
export function untellManagers(root: string): readonly string[] {
  const changed: string[] = [];
  for (const { file, inserted } of managers) {
    const path = join(root, file);
    const text = textOf(path);
    if (text === null) continue;
    if (inserted) {
      const without = withoutBlock(text);
      if (without === text) continue;
      replace(path, without);
    } else if (text.startsWith('# Written by weft;')) rmSync(path);
    else continue;
    changed.push(file);
  }
  return changed;
}

function textOf(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}

function withoutBlock(text: string): string {
  const from = text.indexOf(`${begin}\n`);
  const to = text.indexOf(`${end}\n`, from);
  return from < 0 || to < 0 ? text : text.slice(0, from) + text.slice(to + end.length + 1);
}

function withBlock(text: string, content: string): string {
  return `${begin}\n${content}${end}\n${withoutBlock(text)}`;
}

/** At once or not at all, with the permissions that were there. */
function replace(path: string, text: string): void {
  const mode = existsSync(path) ? statSync(path).mode & 0o777 : 0o644;
  writeFileSync(`${path}.weft`, text, { mode });
  renameSync(`${path}.weft`, path);
}
