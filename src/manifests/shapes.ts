/**
 * The shapes of the kinds that weft reads: complete for NetworkPolicy, Namespace and Service, and for a pod everything down to its
 * containers' fields. What weft never looks into is `anything`.
 */
import { anything, boolean, integer, integerOrText, list, map, object, type Shape, text } from './shape.js';

const metadataShapes = {
  name: text,
  generateName: text,
  namespace: text,
  labels: map(text),
  annotations: map(text),
  finalizers: list(text),
  ownerReferences: list(anything),
  uid: text,
  resourceVersion: text,
  generation: integer,
  creationTimestamp: text,
  deletionTimestamp: text,
  deletionGracePeriodSeconds: integer,
  managedFields: list(anything),
  selfLink: text,
};
const metadata = object(metadataShapes);
export const metadataFields: ReadonlySet<string> = new Set(Object.keys(metadataShapes));

const kind = (spec: Shape, more: Readonly<Record<string, Shape>> = {}): Shape =>
  object({ apiVersion: text, kind: text, metadata, spec, status: anything, ...more });

const selectorShape = object({
  matchLabels: map(text),
  matchExpressions: list(object({ key: text, operator: text, values: list(text) })),
});

const peers = list(
  object({
    podSelector: selectorShape,
    namespaceSelector: selectorShape,
    ipBlock: object({ cidr: text, except: list(text) }),
  }),
);
const policyPorts = list(object({ protocol: text, port: integerOrText, endPort: integer }));

export const policySpec = object({
  podSelector: selectorShape,
  policyTypes: list(text),
  ingress: list(object({ from: peers, ports: policyPorts })),
  egress: list(object({ to: peers, ports: policyPorts })),
});

const any = (names: string): Readonly<Record<string, Shape>> =>
  Object.fromEntries(names.split(' ').map((name) => [name, anything]));

const container = object({
  name: text,
  image: text,
  command: list(text),
  args: list(text),
  ports: list(
    object({ name: text, containerPort: integer, protocol: text, hostPort: integer, hostIP: text }),
  ),
  restartPolicy: text,
  ...any(
    'workingDir env envFrom resources resizePolicy restartPolicyRules volumeMounts volumeDevices livenessProbe readinessProbe startupProbe ' +
      'lifecycle terminationMessagePath terminationMessagePolicy imagePullPolicy securityContext stdin stdinOnce tty',
  ),
});

const podSpec = object({
  containers: list(container),
  initContainers: list(container),
  hostNetwork: boolean,
  nodeName: text,
  restartPolicy: text,
  ...any(
    'volumes ephemeralContainers terminationGracePeriodSeconds activeDeadlineSeconds dnsPolicy nodeSelector serviceAccountName ' +
      'serviceAccount automountServiceAccountToken hostPID hostIPC shareProcessNamespace securityContext imagePullSecrets hostname ' +
      'subdomain affinity schedulerName tolerations hostAliases priorityClassName priority dnsConfig readinessGates runtimeClassName ' +
      'enableServiceLinks preemptionPolicy overhead topologySpreadConstraints setHostnameAsFQDN os hostUsers schedulingGates ' +
      'resourceClaims resources hostnameOverride workloadRef',
  ),
});

const template = object({ metadata, spec: podSpec });

const hints = list(object({ name: text }));
const endpoint = object({
  addresses: list(text),
  conditions: object({ ready: boolean, serving: boolean, terminating: boolean }),
  hints: object({ forZones: hints, forNodes: hints }),
  nodeName: text,
  zone: text,
  ...any('hostname targetRef deprecatedTopology topology'),
});

export const shapes: Readonly<Record<string, Shape>> = {
  NetworkPolicy: kind(policySpec),
  Namespace: kind(object({ finalizers: list(text) })),
  Node: kind(anything),
  Pod: kind(podSpec),
  Service: kind(
    object({
      type: text,
      clusterIP: text,
      clusterIPs: list(text),
      externalIPs: list(text),
      selector: map(text),
      ports: list(
        object({
          name: text,
          protocol: text,
          port: integer,
          targetPort: integerOrText,
          nodePort: integer,
          appProtocol: text,
        }),
      ),
      sessionAffinity: text,
      sessionAffinityConfig: object({ clientIP: object({ timeoutSeconds: integer }) }),
      publishNotReadyAddresses: boolean,
      internalTrafficPolicy: text,
      ipFamilies: list(text),
      externalTrafficPolicy: text,
      healthCheckNodePort: integer,
      ipFamilyPolicy: text,
      loadBalancerSourceRanges: list(text),
      trafficDistribution: text,
      ...any('externalName loadBalancerIP loadBalancerClass allocateLoadBalancerNodePorts'),
    }),
  ),
  Endpoints: kind(anything, { subsets: list(anything) }),
  EndpointSlice: kind(anything, {
    addressType: text,
    endpoints: list(endpoint),
    ports: list(object({ name: text, protocol: text, port: integer, appProtocol: text })),
  }),
  Deployment: kind(
    object({
      replicas: integer,
      selector: selectorShape,
      template,
      ...any('strategy minReadySeconds revisionHistoryLimit paused progressDeadlineSeconds'),
    }),
  ),
  ReplicaSet: kind(
    object({ replicas: integer, selector: selectorShape, template, minReadySeconds: integer }),
  ),
  StatefulSet: kind(
    object({
      replicas: integer,
      selector: selectorShape,
      template,
      serviceName: text,
      ordinals: object({ start: integer }),
      ...any(
        'volumeClaimTemplates podManagementPolicy updateStrategy revisionHistoryLimit minReadySeconds persistentVolumeClaimRetentionPolicy',
      ),
    }),
  ),
  DaemonSet: kind(
    object({
      selector: selectorShape,
      template,
      ...any('updateStrategy minReadySeconds revisionHistoryLimit'),
    }),
  ),
  Job: kind(
    object({
      parallelism: integer,
      completions: integer,
      selector: selectorShape,
      template,
      ...any(
        'activeDeadlineSeconds backoffLimit backoffLimitPerIndex maxFailedIndexes podFailurePolicy successPolicy manualSelector ' +
          'ttlSecondsAfterFinished completionMode suspend podReplacementPolicy managedBy',
      ),
    }),
  ),
};
