/**
 * Every node measure of the suite, one line each. The table of comparisons (bench/plan.ts) asks for these names, subjects and measures:
 *
 * | name | subjects | measures |
 * | --- | --- | --- |
 * | idle-100 | weft | cpu (% of a core) |
 * | memory-0-pods, memory-100-pods, memory-250-pods, memory-10000-policies | weft | pss (MB); 1,000 policies unless named |
 * | compile | reference, large | scratch, relabelled-p50/p99, pod-changed-…, pod-…, local-pod-…, policy-… (ms of processor time) |
 * | policy-change | weft-1000, kube-router-1000 | p50, p99 (ms) |
 * | port-create | weft | p50, p99, parallel-20, and by the CNI plugin: plugin-p50/p99, plugin-20-p50/p99 (ms) |
 * | micro-packet | weft-0, weft-10000, weft-10000-service | instructions, ns: one packet of an established flow; `service`: through a ClusterIP |
 * | micro-verdict | small, large | instructions, ns: verdict of a new flow; 10 pods, 1 policy / 100,000 pods, 10,000 policies, 100,000 CIDRs |
 */
import type { NodeMeasure } from '../node-measure.js';
import { compile } from './compile.js';
import { idle } from './idle.js';
import { memories } from './memory.js';
import { micro } from './micro.js';
import { policyChange } from './policy-change.js';
import { portCreate } from './port-create.js';

export const nodeMeasures: readonly NodeMeasure[] = [
  compile,
  idle,
  ...memories,
  policyChange,
  portCreate,
  ...micro,
];
