/** Worlds of benches as manifests, for a real agent: what a person would have written to get these objects. */
import type { Node } from '../src/model/node.js';
import type { Pod } from '../src/model/pod.js';
import type { NetworkPolicy, PolicyPeer, PolicyPort, PolicyRule } from '../src/model/policy.js';
import type { Selector } from '../src/model/selector.js';
import type { Service } from '../src/model/service.js';
import type { World } from '../src/model/world.js';

/** File name → text: a file for each policy, as people keep them; the other objects in one file for each kind. */
export function manifestFiles(world: World): Map<string, string> {
  const files = new Map<string, string>();
  const list = (name: string, items: readonly unknown[]) =>
    files.set(name, JSON.stringify({ apiVersion: 'v1', kind: 'List', items }));
  list(
    'namespaces.json',
    [...world.all('namespace').values()].map(({ name, labels }) => ({
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name, labels: Object.fromEntries(labels) },
    })),
  );
  list('nodes.json', [...world.all('node').values()].map(nodeManifest));
  list('pods.json', [...world.all('pod').values()].map(podManifest));
  list('services.json', [...world.all('service').values()].map(serviceManifest));
  for (const policy of world.all('policy').values())
    files.set(
      `${policy.namespace}.${policy.name}.yaml`,
      `${JSON.stringify(policyManifest(policy), null, 2)}\n`,
    );
  return files;
}

function nodeManifest({ name, addresses }: Node): unknown {
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name },
    status: { addresses: addresses.map(({ text }) => ({ type: 'InternalIP', address: text })) },
  };
}

function podManifest(pod: Pod): unknown {
  const { namespace, name, uid, labels, nodeName, phase, addresses, ports } = pod;
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { namespace, name, uid, labels: Object.fromEntries(labels), creationTimestamp: pod.created },
    spec: {
      nodeName,
      containers: [
        {
          name: 'c',
          image: 'none',
          ports: ports.map(({ name, port, protocol }) => ({ name, containerPort: port, protocol })),
        },
      ],
    },
    status: { phase, podIP: addresses[0]?.text, podIPs: addresses.map(({ text }) => ({ ip: text })) },
  };
}

function serviceManifest(service: Service): unknown {
  const { namespace, name, uid, type, clusterIPs, ports, selector } = service;
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { namespace, name, uid },
    spec: {
      type,
      clusterIP: clusterIPs[0]?.text,
      clusterIPs: clusterIPs.map(({ text }) => text),
      ipFamilyPolicy: clusterIPs.length > 1 ? 'PreferDualStack' : 'SingleStack',
      ports,
      selector: selector === null ? undefined : Object.fromEntries(selector),
    },
  };
}

export function policyManifest(policy: NetworkPolicy): unknown {
  const { namespace, name, podSelector, ingress, egress } = policy;
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { namespace, name },
    spec: {
      podSelector: selectorManifest(podSelector),
      policyTypes: [...(ingress === null ? [] : ['Ingress']), ...(egress === null ? [] : ['Egress'])],
      ...(ingress === null ? {} : { ingress: ingress.map((rule) => ruleManifest(rule, 'from')) }),
      ...(egress === null ? {} : { egress: egress.map((rule) => ruleManifest(rule, 'to')) }),
    },
  };
}

function ruleManifest({ peers, ports }: PolicyRule, side: 'from' | 'to'): unknown {
  return {
    ...(peers === null ? {} : { [side]: peers.map(peerManifest) }),
    ...(ports === null ? {} : { ports: ports.map(portManifest) }),
  };
}

function peerManifest(peer: PolicyPeer): unknown {
  switch (peer.kind) {
    case 'pods':
      return {
        ...(peer.namespaceSelector === undefined
          ? {}
          : { namespaceSelector: selectorManifest(peer.namespaceSelector) }),
        ...(peer.podSelector === undefined ? {} : { podSelector: selectorManifest(peer.podSelector) }),
      };
    case 'block':
      return {
        ipBlock: {
          cidr: peer.cidr.text,
          ...(peer.except.length === 0 ? {} : { except: peer.except.map(({ text }) => text) }),
        },
      };
    case 'nothing':
      throw new Error('benches have no broken peers');
  }
}

function portManifest(port: PolicyPort): unknown {
  switch (port.kind) {
    case 'protocol':
      return { protocol: port.protocol };
    case 'named':
      return { protocol: port.protocol, port: port.name };
    case 'range':
      return {
        protocol: port.protocol,
        port: port.first,
        ...(port.last === port.first ? {} : { endPort: port.last }),
      };
    case 'nothing':
      throw new Error('benches have no broken ports');
  }
}

function selectorManifest({ requirements }: Selector): unknown {
  return { matchExpressions: requirements };
}
