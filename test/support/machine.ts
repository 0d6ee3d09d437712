/**
 * A machine for tests of real programs (containerd, runc, K3s): network, mount, PID, cgroup, IPC and UTS namespaces of its own, with an
 * uplink to an "outside" namespace. What its programs write to /etc, /opt, /var and /run stays in memory (overlays and a tmpfs), its
 * processes see cgroups below a folder of their own, and all of it ends with its first process, which ends with the test's: there
 * is no clean-up that could be skipped but the cgroup folders, which the next machine sweeps.
 *
 *   outside (192.0.2.1, 2001:db8:2::1) ── up0 (192.0.2.2, 2001:db8:2::2) machine
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import type { Family } from '../../src/net/address.js';
import { until } from './weft.js';

export const nodeAddress = '192.0.2.2';
export const nodeAddress6 = '2001:db8:2::2';
export const outsideAddress = '192.0.2.1';
export const outsideAddress6 = '2001:db8:2::1';
export const nodeAddressOf = (family: Family) => (family === 4 ? nodeAddress : nodeAddress6);
export const outsideAddressOf = (family: Family) => (family === 4 ? outsideAddress : outsideAddress6);

const prefix = 'weft-machine-';

interface CgroupMount {
  readonly path: string;
  readonly type: string;
  readonly options: string;
}

function cgroupMounts(): CgroupMount[] {
  return readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' '))
    .filter(([, path = '', type = '']) => type.startsWith('cgroup') && path.startsWith('/sys/fs/cgroup'))
    .map(([, path = '', type = '', options = '']) => ({
      path,
      type,
      // Of the options those of the mount (ro, relatime) are not the hierarchy's.
      options: options
        .split(',')
        .filter(
          (option) =>
            !/^(rw|ro|relatime|nosuid|nodev|noexec|nsdelegate|memory_\w+|xattr|clone_children)$/.test(option),
        )
        .join(','),
    }));
}

/** Runs as root of the new namespaces; $1 is the host name. The rest are: mount type, options and path of each cgroup hierarchy. */
const setUp = `
set -eu
hostname "$1"; shift
mount -t tmpfs -o mode=755 tmpfs /run
for folder in etc opt var; do
  mkdir -p /run/machine/$folder/upper /run/machine/$folder/work
  mount -t overlay -o lowerdir=/$folder,upperdir=/run/machine/$folder/upper,workdir=/run/machine/$folder/work overlay /$folder
done
# Debian's plugins are no business of ours, nor is what we install theirs.
if [ -d /usr/lib/cni ]; then mount -t tmpfs tmpfs /usr/lib/cni; fi
mkdir -p /run/lock /run/netns /opt/cni/bin /etc/cni/net.d
rm -rf /var/lib/containerd /var/lib/cni /var/lib/kubelet /var/lib/rancher /etc/rancher /etc/cni/net.d/* /opt/cni/bin/*
mkdir -p /var/lib/containerd /var/lib/kubelet /var/lib/rancher
for folder in /var/lib/containerd /var/lib/kubelet /var/lib/rancher; do mount -t tmpfs -o mode=755 tmpfs $folder; done
mount --make-shared /var/lib/kubelet
mount --bind /run/netns /run/netns
mount --make-shared /run/netns
mount -t sysfs sysfs /sys
if [ "$3" != /sys/fs/cgroup ]; then mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup; fi
while [ $# -gt 0 ]; do
  mkdir -p "$3"
  if [ "$1" = cgroup2 ]; then
    mount -t cgroup2 cgroup2 "$3"
    if [ -s "$3/cgroup.controllers" ]; then
      # Controllers are handed down only by a group that has no processes.
      mkdir -p "$3/init" && echo 0 >"$3/init/cgroup.procs"
      for controller in $(cat "$3/cgroup.controllers"); do echo "+$controller" >"$3/cgroup.subtree_control" || true; done
      echo "$3/init/cgroup.procs" >>/run/machine/procs
    else
      echo "$3/cgroup.procs" >>/run/machine/procs
    fi
  else
    mount -t cgroup -o "$2" cgroup "$3"
    echo "$3/cgroup.procs" >>/run/machine/procs
  fi
  shift 3
done
ip link set lo up
ip netns add outside
ip link add up0 type veth peer name up0 netns outside
ip addr add ${nodeAddress}/24 dev up0
ip addr add ${nodeAddress6}/64 dev up0 nodad
ip link set up0 up
ip -n outside addr add ${outsideAddress}/24 dev up0
ip -n outside addr add ${outsideAddress6}/64 dev up0 nodad
ip -n outside link set lo up
ip -n outside link set up0 up
ip route add default via ${outsideAddress}
ip -6 route add default via ${outsideAddress6}
sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
: >/run/machine/ready
# The first process reaps orphans (bash does) and ends with its standard input, which is the test's.
while read -r _; do :; done
`;

/** Puts itself into the machine's cgroups, leaves its process id in the file $1 (unless that is ''), then becomes the command. */
const enter =
  'while read -r procs; do echo 0 >"$procs"; done </run/machine/procs; [ -z "$1" ] || echo $$ >"$1"; shift; exec "$@"';

export interface Ran {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

let machines = 0;

export class Machine {
  readonly name: string;
  /** Of the first process, as seen from here. */
  readonly #pid: number;
  readonly #child: ChildProcess;
  readonly #spawned = new Map<string, ChildProcess>();

  private constructor(name: string, child: ChildProcess, pid: number) {
    this.name = name;
    this.#child = child;
    this.#pid = pid;
  }

  static async start(): Promise<Machine> {
    sweepCgroups();
    const name = `${prefix}${process.pid}-${++machines}`;
    const mounts = cgroupMounts();
    const folders = mounts.map(({ path }) => join(path, name));
    for (const folder of folders) makeCgroup(folder);
    const words = mounts.flatMap(({ path, type, options }) => [type, options, path]);
    const move = `for folder in ${folders.join(' ')}; do echo 0 >$folder/cgroup.procs; done; exec "$@"`;
    const namespaces = ['--mount', '--net', '--pid', '--cgroup', '--ipc', '--uts', '--fork', '--mount-proc'];
    const child = spawn(
      'setpriv',
      [
        ...['--pdeathsig', 'KILL', '--', 'bash', '-c', move, 'bash'],
        ...['unshare', ...namespaces, '--kill-child=KILL', '--propagation', 'private', '--'],
        ...['bash', '-c', 'eval "$SET_UP"', 'bash', name, ...words],
      ],
      { stdio: ['pipe', 'ignore', 'pipe'], env: { ...process.env, SET_UP: setUp } },
    );
    let said = '';
    child.stderr?.on('data', (data: Buffer) => {
      said = (said + data.toString()).slice(-2000);
    });
    child.stdin?.on('error', () => {});
    let pid = 0;
    try {
      await until('the machine is set up', 20, () => {
        if (child.exitCode !== null) throw new Error(`the machine did not start: ${said}`);
        pid ||= firstChild(child.pid ?? 0);
        return pid !== 0 && existsSync(`/proc/${pid}/root/run/machine/ready`);
      });
    } catch (error) {
      child.kill('SIGKILL');
      throw error;
    }
    return new Machine(name, child, pid);
  }

  /** A path of the machine, as seen from here. */
  path(inside: string): string {
    return `/proc/${this.#pid}/root${inside}`;
  }

  read(inside: string): string {
    return readFileSync(this.path(inside), 'utf8');
  }

  write(inside: string, text: string): void {
    writeFileSync(this.path(inside), text);
  }

  list(inside: string): string[] {
    return existsSync(this.path(inside)) ? readdirSync(this.path(inside)).sort() : [];
  }

  #command(command: readonly string[], pidFile = ''): [string, string[]] {
    const namespaces = ['--mount', '--net', '--pid', '--cgroup', '--ipc', '--uts'];
    return [
      'nsenter',
      ['--target', String(this.#pid), ...namespaces, '--', 'bash', '-c', enter, 'bash', pidFile, ...command],
    ];
  }

  /** Runs to the end. */
  try(command: readonly string[], options: { readonly input?: string; readonly seconds?: number } = {}): Ran {
    const [program, args] = this.#command(command);
    const { status, stdout, stderr } = spawnSync(program, args, {
      encoding: 'utf8',
      input: options.input ?? '',
      timeout: (options.seconds ?? 60) * 1000,
      killSignal: 'SIGKILL',
      maxBuffer: 64 * 1024 * 1024,
    });
    return { status, stdout, stderr };
  }

  /** Standard output of a command that must succeed. */
  run(...command: readonly string[]): string {
    const { status, stdout, stderr } = this.try(command);
    if (status !== 0) throw new Error(`${command.join(' ')} (status ${status}): ${stderr}${stdout}`);
    return stdout;
  }

  /** As `try`, without holding up this process. */
  async ran(
    command: readonly string[],
    options: { readonly input?: string; readonly seconds?: number } = {},
  ): Promise<Ran> {
    const [program, args] = this.#command(command);
    const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'] });
    // What nsenter started lives on then, until the machine ends.
    const timer = setTimeout(() => child.kill('SIGKILL'), (options.seconds ?? 60) * 1000);
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (data: Buffer) => {
      stdout += data.toString();
    });
    child.stderr.on('data', (data: Buffer) => {
      stderr += data.toString();
    });
    child.stdin.on('error', () => {});
    child.stdin.end(options.input ?? '');
    const status = await new Promise<number | null>((resolve) => child.once('close', resolve));
    clearTimeout(timer);
    return { status, stdout, stderr };
  }

  /** A process of the machine that runs beside the test; its output goes to /run/machine/NAME.log. It ends with the machine. */
  spawn(name: string, command: readonly string[]): void {
    const log = openSync(this.path(`/run/machine/${name}.log`), 'a');
    const [program, args] = this.#command(command, `/run/machine/${name}.pid`);
    const child = spawn(program, args, { stdio: ['ignore', log, log] });
    closeSync(log);
    child.on('error', () => {});
    this.#spawned.set(name, child);
  }

  /** Whether the process spawned under this name runs. */
  runs(name: string): boolean {
    const child = this.#spawned.get(name);
    return child !== undefined && child.exitCode === null && child.signalCode === null;
  }

  /** Sends a signal to the process that was spawned under this name, and waits for its end. */
  async kill(name: string, signal: 'KILL' | 'TERM' = 'KILL'): Promise<void> {
    const child = this.#spawned.get(name);
    if (child === undefined || !this.runs(name)) return;
    const over = new Promise((resolve) => child.once('exit', resolve));
    // nsenter stays outside of the PID namespace and waits for the process, which is its child. When that was stopped, nsenter stopped too.
    child.kill('SIGCONT');
    this.run('kill', `-${signal}`, this.read(`/run/machine/${name}.pid`).trim());
    await over;
    this.#spawned.delete(name);
  }

  log(name: string): string {
    const file = this.path(`/run/machine/${name}.log`);
    return existsSync(file) ? readFileSync(file, 'utf8') : '';
  }

  words(name: string, lines = 12): string {
    return this.log(name).trim().split('\n').slice(-lines).join('\n');
  }

  /** Ids, seen from inside, of the machine's processes whose command line matches. */
  pids(pattern: string): number[] {
    const lines = this.try(['pgrep', '-f', pattern]).stdout.split('\n');
    // The shell that enters has the pattern on its command line, but has become pgrep, which leaves itself out.
    return lines.filter((line) => line !== '').map(Number);
  }

  /** Whether a process of the machine, by its id there, has not ended. */
  lives(pid: number): boolean {
    const state = this.try(['ps', '-o', 'state=', '-p', String(pid)]).stdout.trim();
    return state !== '' && state !== 'Z';
  }

  /** Ends everything in it; safe to call twice. */
  async end(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const over = new Promise((resolve) => this.#child.once('exit', resolve));
      this.#child.kill('SIGKILL');
      await over;
    }
    await until('the machine is gone', 20, () => !existsSync(`/proc/${this.#pid}/ns/net`));
    await until('its cgroups are gone', 20, () => {
      sweepCgroups();
      return !cgroupMounts().some(({ path }) => existsSync(join(path, this.name)));
    });
  }
}

function firstChild(parent: number): number {
  try {
    // bash became unshare; its only child is the first process of the namespace.
    const [child] = readFileSync(`/proc/${parent}/task/${parent}/children`, 'utf8').trim().split(' ');
    if (child === undefined || child === '') return 0;
    return /^NSpid:.*\s1$/m.test(readFileSync(`/proc/${child}/status`, 'utf8')) ? Number(child) : 0;
  } catch {
    return 0;
  }
}

function makeCgroup(folder: string): void {
  mkdirSync(folder, { recursive: true });
  // A new cpuset (v1) is empty, and takes no process.
  for (const file of ['cpuset.cpus', 'cpuset.mems']) {
    const ours = join(folder, file);
    if (existsSync(ours) && existsSync(join(folder, 'cpuset.sched_load_balance')))
      writeFileSync(ours, readFileSync(join(folder, '..', file), 'utf8'));
  }
}

/** Removes the folders of machines that have ended. */
function sweepCgroups(): void {
  for (const { path } of cgroupMounts()) {
    for (const name of readdirSync(path)) {
      if (name.startsWith(prefix)) removeCgroup(join(path, name));
    }
  }
}

/** A group with processes in it stays, its kernel says no. */
function removeCgroup(folder: string): void {
  try {
    for (const entry of readdirSync(folder, { withFileTypes: true }))
      if (entry.isDirectory()) removeCgroup(join(folder, entry.name));
    rmdirSync(folder);
  } catch {
    // It is in use, or another sweep was faster.
  }
}
