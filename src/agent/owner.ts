/** The workload that a pod belongs to, read from what its controller writes on it: the model keeps no owner references. */
import type { Pod } from '../model/pod.js';

const suffixOf = (name: string, form: RegExp): string | undefined => form.exec(name)?.[1];

/** The workload's name, or the pod's own where nothing tells of one. */
export function ownerOf({ name, labels }: Pick<Pod, 'name' | 'labels'>): string {
  const job = labels.get('batch.kubernetes.io/job-name') ?? labels.get('job-name');
  if (job !== undefined) return job;
  // Deployment: NAME-HASH-xxxxx.
  const template = labels.get('pod-template-hash');
  if (template !== undefined) {
    const set = suffixOf(name, /^(.+)-[a-z0-9]{5}$/);
    if (set?.endsWith(`-${template}`)) return set.slice(0, -template.length - 1);
  }
  if (labels.has('statefulset.kubernetes.io/pod-name')) return suffixOf(name, /^(.+)-\d+$/) ?? name;
  // DaemonSet: NAME-xxxxx.
  if (labels.has('controller-revision-hash')) return suffixOf(name, /^(.+)-[a-z0-9]{5}$/) ?? name;
  return name;
}
