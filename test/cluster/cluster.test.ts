/**
 * weft as the network of a real cluster. K3S_BIN: a K3s binary, started on a machine of the test's own beside containerd, the agent and the
 * switch. KUBECONFIG: a cluster that has weft already. Without either nothing is run, and every case counts so.
 */
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { buildPodProgram } from '../support/container-image.js';
import { containerdLacks } from '../support/containerd.js';
import { NodeWeft } from '../support/node-weft.js';
import { repositoryRoot } from '../support/repository.js';
import { policyChanges } from './changes.js';
import { Cluster, kubeconfigLacks } from './cluster.js';
import { commands } from './commands.js';
import { conformance, outsideServer } from './conformance.js';
import { families } from './families.js';
import { far } from './far.js';
import { hostPorts } from './host-ports.js';
import { familiesOf, K3s, k3sBinary, kernelHasSctp, wantedFamilies } from './k3s.js';
import { restarts } from './restarts.js';
import { services } from './services.js';

/** Of the agent: the service account of deploy/rbac.yaml. */
const agentKubeconfig = '/etc/weft/kubeconfig';
const config = {
  network: { podCIDRs: [] },
  kubernetes: { mode: 'on', kubeconfig: agentKubeconfig },
  limits: { ports: 512 },
  telemetry: { podEvents: true },
};
const binary = k3sBinary();
const reason = binary === undefined ? kubeconfigLacks() : containerdLacks();
let cluster: Cluster | null = null;
let weft: NodeWeft | null = null;

function started<T>(value: T | null): T {
  if (value === null) throw new Error('the cluster did not start');
  return value;
}

before(async () => {
  if (reason !== '') return;
  if (binary === undefined) {
    cluster = await Cluster.byKubeconfig();
    return;
  }
  const families = wantedFamilies();
  const k3s = await K3s.start(binary, families);
  cluster = new Cluster(k3s, familiesOf(families));
  const { machine } = k3s;
  machine.run('cp', buildPodProgram(), '/run/machine/pod');
  machine.spawn('outside', ['ip', 'netns', 'exec', 'outside', '/run/machine/pod', ...outsideServer.slice(1)]);
  for (const family of cluster.families) k3s.routeFromOutside(family);
  await k3s.serviceAccountKubeconfig(join(repositoryRoot, 'deploy', 'rbac.yaml'), agentKubeconfig);
  weft = await NodeWeft.start(machine, config);
  await weft.agentSynced();
  await cluster.kubectl(['wait', '--for=condition=Ready', 'node', '--all', '--timeout=60s'], { seconds: 70 });
});

after(async () => {
  await cluster?.k3s?.end();
});

test('The node is ready with weft as its network', { skip: reason === '' ? false : reason }, async () => {
  await started(cluster).kubectl(['wait', '--for=condition=Ready', 'node', '--all', '--timeout=10s']);
});

const parts = (
  process.env.WEFT_TEST_PARTS ?? 'conformance,changes,services,families,host-ports,commands,far,restarts'
).split(',');
// First: what the other parts deny uses up what the node may write of Events for a while.
if (parts.includes('commands'))
  commands(
    () => started(cluster),
    () => started(weft),
    reason,
  );
if (parts.includes('conformance')) conformance(() => started(cluster), reason, kernelHasSctp());
if (parts.includes('changes'))
  policyChanges(
    () => started(cluster),
    () => weft,
    reason,
  );
if (parts.includes('services')) services(() => started(cluster), reason);
if (parts.includes('families'))
  families(
    () => started(cluster),
    () => started(weft),
    reason,
    (addresses) => started(weft).configure({ ...config, node: { addresses } }),
  );
if (parts.includes('host-ports')) hostPorts(() => started(cluster), reason);
if (parts.includes('far'))
  far(
    () => started(cluster),
    () => started(weft),
    reason,
  );
if (parts.includes('restarts'))
  restarts(
    () => started(cluster),
    () => started(weft),
    reason,
  );
