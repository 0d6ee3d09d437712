/** The objects that a lab brings along: a DNS pod behind the Service kube-dns, as K3s names and labels them. */
import type { KubernetesObject, ManifestObject } from '../manifests/object.js';
import { address } from '../net/address.js';

export const dnsPodKey = 'kube-system/coredns';
export const dnsServiceAddress = address('10.43.0.10');

export function dnsObjects(): ManifestObject[] {
  const labels = { 'k8s-app': 'kube-dns' };
  const port = (name: string, protocol: string) => ({ name, containerPort: 53, protocol });
  const values: KubernetesObject[] = [
    {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { namespace: 'kube-system', name: 'coredns', labels },
      spec: { containers: [{ name: 'coredns', ports: [port('dns', 'UDP'), port('dns-tcp', 'TCP')] }] },
    },
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { namespace: 'kube-system', name: 'kube-dns', labels },
      spec: {
        clusterIPs: [dnsServiceAddress.text],
        selector: labels,
        ports: [
          { name: 'dns', port: 53, protocol: 'UDP', targetPort: 53 },
          { name: 'dns-tcp', port: 53, protocol: 'TCP', targetPort: 53 },
        ],
      },
    },
  ];
  return values.map((value) => ({
    value,
    file: '<lab>',
    locate: () => ({ file: '<lab>' }),
  }));
}
