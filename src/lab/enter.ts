/**
 * Runs a command inside a pod: the pod's network namespace, the lab's mount and PID namespaces, and the pod's own resolv.conf
 * (bind-mounted in a mount namespace that lives as long as the command). The command keeps our terminal and our files.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { type FoundLab, inside } from './launch.js';
import type { PlaceAnswer } from './protocol.js';

/**
 * $1 network namespace ('' stays in the node's), $2 resolv.conf, $3 working directory, then the command. A resolv.conf that is a link into
 * /run (systemd-resolved) leads nowhere in a lab, whose /run is its own: the file is made there first.
 */
const script = `
target=$(readlink -m /etc/resolv.conf)
case "$target" in /run/*) mkdir -p "\${target%/*}" && : >"$target" ;; esac
[ -e "$target" ] && mount --bind "$2" "$target"
cd "$3" 2>/dev/null || cd /
netns=$1
shift 3
if [ -n "$netns" ]; then exec nsenter --net="$netns" -- "$@"; else exec "$@"; fi
`;

/** Resolves with the command's exit status (128 + signal where it was killed). */
export function enter(lab: FoundLab, place: PlaceAnswer, command: readonly string[]): Promise<number> {
  const root = process.geteuid?.() === 0;
  const into = ['--target', String(lab.pid), ...(root ? [] : ['--user', '--preserve-credentials'])];
  const args = [
    ...into,
    ...['--mount', '--pid', '--net', '--'],
    ...['unshare', '--mount', '--propagation', 'private', '--'],
    ...['sh', '-c', script, 'sh', place.netns, place.resolvConf, process.cwd()],
    ...command,
  ];
  const child = spawn('nsenter', args, { stdio: 'inherit', env: { ...process.env, WEFT_POD: place.pod } });
  // The terminal sends Ctrl-C to the command as well; it is the command's to decide.
  const ignore = () => {};
  process.on('SIGINT', ignore);
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (status, signal) => {
      process.off('SIGINT', ignore);
      resolve(status ?? (signal === 'SIGKILL' ? 137 : 130));
    });
  });
}

/** An interactive shell that says where it is. */
export function shellCommand(lab: FoundLab, pod: string): string[] {
  const bash = existsSync(inside(lab, '/bin/bash'));
  const prompt = `[${pod}] \\w \\$ `;
  return ['env', `PS1=${prompt}`, ...(bash ? ['bash', '--norc', '-i'] : ['sh', '-i'])];
}
