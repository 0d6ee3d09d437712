/**
 * Where the container runtime of this host looks for CNI programs and configurations: what its own configuration says, else the defaults that
 * containerd has. K3s writes its containerd's configuration itself; with `--flannel-backend=none` that leaves the defaults in force, with its own
 * flannel it names folders of K3s.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

export interface CniPlaces {
  /** Absolute, as the host sees them. */
  readonly bin: string;
  readonly configurations: string;
  /** The file that says so; '' where these are the defaults. */
  readonly from: string;
}

const defaults = { bin: '/opt/cni/bin', configurations: '/etc/cni/net.d' };

/** In the order in which they are asked; the first that is there counts. */
const runtimeFiles = [
  '/var/lib/rancher/k3s/agent/etc/containerd/config.toml',
  '/var/lib/rancher/rke2/agent/etc/containerd/config.toml',
  '/etc/containerd/config.toml',
] as const;

/** `root`: where the host's file system is mounted; `/` on the host itself. */
export function findPlaces(root: string): CniPlaces {
  for (const file of runtimeFiles) {
    let text: string;
    try {
      text = readFileSync(join(root, file), 'utf8');
    } catch {
      continue;
    }
    const bin = setting(text, 'bin_dir') ?? firstOf(text, 'bin_dirs');
    const configurations = setting(text, 'conf_dir');
    return {
      bin: bin ?? defaults.bin,
      configurations: configurations ?? defaults.configurations,
      from: bin === undefined && configurations === undefined ? '' : file,
    };
  }
  return { ...defaults, from: '' };
}

/** Both keys stand in one table of containerd's TOML only (`…cri….cni`), so that a line is enough to find them. */
function setting(text: string, key: string): string | undefined {
  return new RegExp(`^[ \\t]*${key}[ \\t]*=[ \\t]*["'](/[^"']*)["']`, 'm').exec(text)?.[1];
}

function firstOf(text: string, key: string): string | undefined {
  return new RegExp(`^[ \\t]*${key}[ \\t]*=[ \\t]*\\[[ \\t\\n]*["'](/[^"']*)["']`, 'm').exec(text)?.[1];
}
