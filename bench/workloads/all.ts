/** Every workload, in the order of the report's tables. */
import { busyWorkloads } from './busy.js';
import { connectWorkloads } from './connect.js';
import { flowWorkloads } from './flows.js';
import { requestWorkloads } from './request-response.js';
import { bulkWorkloads } from './tcp-bulk.js';
import { udpWorkloads } from './udp.js';
import type { Workload } from './workload.js';

export const workloads: readonly Workload[] = [
  ...bulkWorkloads,
  ...udpWorkloads,
  ...requestWorkloads,
  ...connectWorkloads,
  ...flowWorkloads,
  ...busyWorkloads,
];
