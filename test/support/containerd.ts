/** containerd with runc, on a machine of the test's own, with images of the test's own and the CNI folders as they are by default. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import {
  buildPodProgram,
  type ImageWish,
  pauseImage,
  podImage,
  podProgram,
  writeImage,
} from './container-image.js';
import { Cri } from './cri.js';
import type { Machine } from './machine.js';
import { until } from './weft.js';

export const containerdSocket = '/run/containerd/containerd.sock';
export const cniBin = '/opt/cni/bin';
export const cniConf = '/etc/cni/net.d';

/** Where containerd and `weft install` look for it. */
const configFile = '/etc/containerd/config.toml';

/** Why these tests cannot run here; '' when they can. */
export function containerdLacks(): string {
  if (process.geteuid?.() !== 0) return 'root is needed';
  if (!existsSync('/dev/net/tun')) return '/dev/net/tun is needed';
  for (const program of ['containerd', 'ctr', 'runc', 'cc', 'nsenter', 'unshare', 'pgrep'])
    if (spawnSync('sh', ['-c', `command -v ${program}`]).status !== 0)
      return `${program} is not installed (deploy/setup.sh --for ci)`;
  return '';
}

export class Containerd {
  readonly cri: Cri;
  readonly machine: Machine;

  private constructor(machine: Machine) {
    this.machine = machine;
    this.cri = new Cri(machine.path(containerdSocket));
  }

  static async start(machine: Machine): Promise<Containerd> {
    // overlayfs over the machine's tmpfs, where the kernel can.
    const overlay = machine.try([
      'sh',
      '-c',
      'cd /var/lib/containerd && mkdir -p try/l try/u try/w try/m && mount -t overlay -o lowerdir=try/l,upperdir=try/u,workdir=try/w overlay try/m && umount try/m; status=$?; rm -rf try; exit $status',
    ]);
    machine.run('mkdir', '-p', '/etc/containerd');
    machine.write(configFile, config(overlay.status === 0 ? 'overlayfs' : 'native'));
    const containerd = new Containerd(machine);
    await containerd.run();
    const program = buildPodProgram();
    const files = { [podProgram]: program };
    containerd.importImage({ tag: pauseImage, command: [podProgram, 'pause'], files });
    containerd.importImage({ tag: podImage, command: [podProgram, 'pause'], files });
    return containerd;
  }

  /** Starts the daemon (again). Its shims, and the pods in them, outlive it. */
  async run(): Promise<void> {
    this.machine.spawn('containerd', ['containerd']);
    await until(`containerd serves its CRI\n${this.machine.words('containerd')}`, 20, async () => {
      try {
        return (await this.cri.condition('RuntimeReady')).status;
      } catch {
        return false;
      }
    });
  }

  /** SIGKILL of the daemon alone. */
  async kill(): Promise<void> {
    await this.machine.kill('containerd');
    this.cri.close();
  }

  importImage(wish: ImageWish): void {
    const archive = this.machine.path('/run/machine/image.tar');
    writeImage(wish, archive);
    this.importArchive('/run/machine/image.tar');
    this.machine.run('rm', '/run/machine/image.tar');
  }

  /** `archive`: as the machine sees it. */
  importArchive(archive: string): void {
    this.machine.run('ctr', '-n', 'k8s.io', 'images', 'import', archive);
  }

  /** containerd looks at its CNI folder when a file in it changes; resolves when it found a network. */
  async networkReady(): Promise<void> {
    let reason = '';
    try {
      await until('containerd has a network', 15, async () => {
        const condition = await this.cri.condition('NetworkReady');
        reason = condition.message;
        return condition.status;
      });
    } catch {
      throw new Error(`containerd has no network: ${reason}`);
    }
  }
}

function config(snapshotter: string): string {
  // A machine without CAP_SYS_RESOURCE cannot lower a score below its own.
  return `version = 2
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper"]
[grpc]
  address = "${containerdSocket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${pauseImage}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "${cniBin}"
    conf_dir = "${cniConf}"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "${snapshotter}"
`;
}
