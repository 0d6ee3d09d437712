/**
 * weft as the network of a real cluster. K3S_BIN, a K3s binary, or KUBERNETES_BIN, a folder with the programs of Kubernetes: started on a machine
 * of the test's own beside containerd, the agent and the switch. KUBECONFIG: a cluster that has weft already. Without any of these
 * nothing is run, and every case counts so.
 */
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { buildPodProgram } from '../support/container-image.js';
import { containerdLacks } from '../support/containerd.js';
import { nodeAddress6 } from '../support/machine.js';
import { NodeWeft } from '../support/node-weft.js';
import { repositoryRoot } from '../support/repository.js';
import { policyChanges } from './changes.js';
import { Cluster, kubeconfigLacks } from './cluster.js';
import { commands } from './commands.js';
import { conformance, outsideServer } from './conformance.js';
import { dns } from './dns.js';
import { endpoints } from './endpoints.js';
import { externals } from './external.js';
import { families } from './families.js';
import { far } from './far.js';
import { hostPorts } from './host-ports.js';
import { K3s, k3sBinary, kernelHasSctp } from './k3s.js';
import { Kubernetes, kubernetesFolder } from './kubernetes.js';
import { nodes } from './nodes.js';
import { familiesOf, lacksNode, type OwnCluster, wantedFamilies } from './own-cluster.js';
import { restarts } from './restarts.js';
import { services } from './services.js';

/** Of the agent: the service account of deploy/rbac.yaml. */
const agentKubeconfig = '/etc/weft/kubeconfig';
const config = {
  ...(wantedFamilies() === 'ipv6' ? { node: { addresses: [nodeAddress6] } } : {}),
  network: { podCIDRs: [] },
  kubernetes: { mode: 'on', kubeconfig: agentKubeconfig },
  limits: { ports: 512 },
  telemetry: { podEvents: true },
};
const reason = lacksNode === false ? containerdLacks() : kubeconfigLacks();
let cluster: Cluster | null = null;
let weft: NodeWeft | null = null;

function started<T>(value: T | null): T {
  if (value === null) throw new Error('the cluster did not start');
  return value;
}

/** null: none is wanted. */
async function ownCluster(): Promise<OwnCluster | null> {
  const binary = k3sBinary();
  const folder = kubernetesFolder();
  if (binary !== undefined) return K3s.start(binary, wantedFamilies());
  return folder === undefined ? null : Kubernetes.start(folder, wantedFamilies());
}

before(async () => {
  if (reason !== '') return;
  const own = await ownCluster();
  if (own === null) {
    cluster = await Cluster.byKubeconfig();
    return;
  }
  cluster = new Cluster(own, familiesOf(own.families));
  const { machine } = own;
  machine.run('cp', buildPodProgram(), '/run/machine/pod');
  machine.spawn('outside', ['ip', 'netns', 'exec', 'outside', '/run/machine/pod', ...outsideServer.slice(1)]);
  for (const family of cluster.families) own.routeFromOutside(family);
  await own.serviceAccountKubeconfig(join(repositoryRoot, 'deploy', 'rbac.yaml'), agentKubeconfig);
  weft = await NodeWeft.start(machine, config);
  await weft.agentSynced();
  await cluster.kubectl(['wait', '--for=condition=Ready', 'node', '--all', '--timeout=60s'], { seconds: 70 });
});

after(async () => {
  await cluster?.own?.end();
});

test('The node is ready with weft as its network', { skip: reason === '' ? false : reason }, async () => {
  await started(cluster).kubectl(['wait', '--for=condition=Ready', 'node', '--all', '--timeout=10s']);
});

const parts = (
  process.env.WEFT_TEST_PARTS ??
  'conformance,changes,services,external,endpoints,dns,families,host-ports,commands,far,restarts,nodes'
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
if (parts.includes('external')) externals(() => started(cluster), reason);
if (parts.includes('endpoints')) endpoints(() => started(cluster), reason);
if (parts.includes('dns')) dns(() => started(cluster), reason);
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
// Last: pods of other parts belong on the first node.
if (parts.includes('nodes')) nodes(() => started(cluster), reason, config, agentKubeconfig);
