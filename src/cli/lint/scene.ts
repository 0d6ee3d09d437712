/** What the checks of meaning look at: the given objects with who selects whom worked out once. */
import type { Problem } from '../../errors/problem.js';
import type { FieldPath, ManifestObject } from '../../manifests/object.js';
import { nameOf, objectOf, type PlainObject } from '../../manifests/plain.js';
import type { Manifests } from '../../manifests/read.js';
import { validateObjects } from '../../manifests/validate.js';
import type { Labels } from '../../model/labels.js';
import { namespaceNameLabel } from '../../model/namespace.js';
import { isFinished, type Pod } from '../../model/pod.js';
import type { NetworkPolicy, PolicyPeer } from '../../model/policy.js';
import { matches } from '../../model/selector.js';
import type { Service } from '../../model/service.js';

/** A policy with the object it was decoded from. */
export interface ScenePolicy {
  readonly policy: NetworkPolicy;
  readonly origin: ManifestObject;
  readonly spec: PlainObject;
  /** Live pods that it selects; hostNetwork pods are never selected. */
  readonly pods: readonly Pod[];
}

export class Scene {
  readonly manifests: Manifests;
  /** Policies without errors: what a broken one means is for its author to say first. */
  readonly policies: readonly ScenePolicy[];
  readonly pods: readonly Pod[];
  readonly services: readonly Service[];
  /** Whether any Namespace object is given; without, nothing is known of namespaces' labels. */
  readonly declaresNamespaces: boolean;
  readonly #podsByNamespace = new Map<string, Pod[]>();
  readonly #podsOfPeer = new WeakMap<PolicyPeer, readonly Pod[]>();
  readonly #namespaceLabels = new Map<string, Labels>();
  /** Namespaces that some object of the manifests declares or lives in. */
  readonly namespaces: ReadonlyMap<string, Labels> = this.#namespaceLabels;

  constructor(manifests: Manifests, invalid: readonly Problem[]) {
    this.manifests = manifests;
    const { model } = manifests;
    this.pods = model.pods.filter((pod) => !isFinished(pod) && !pod.hostNetwork);
    for (const pod of this.pods) {
      const neighbours = this.#podsByNamespace.get(pod.namespace);
      if (neighbours === undefined) this.#podsByNamespace.set(pod.namespace, [pod]);
      else neighbours.push(pod);
    }
    this.services = model.services;
    this.declaresNamespaces = manifests.objects.some(({ value }) => value.kind === 'Namespace');
    for (const namespace of model.namespaces) this.#namespaceLabels.set(namespace.name, namespace.labels);
    const origins = new Map<string, ManifestObject>();
    for (const origin of manifests.objects) {
      if (origin.value.kind !== 'NetworkPolicy') continue;
      const named = nameOf(origin.value);
      if (named !== undefined) origins.set(`${named.namespace}/${named.name}`, origin);
    }
    const last = new Map(model.policies.map((policy) => [`${policy.namespace}/${policy.name}`, policy]));
    const broken = validationErrors(manifests, invalid);
    const sound = [...last].filter(([key]) => !broken.has(origins.get(key)!));
    this.policies = sound.map(([key, policy]) => {
      const origin = origins.get(key)!;
      return {
        policy,
        origin,
        spec: objectOf(origin.value.spec),
        pods: this.podsIn(policy.namespace).filter((pod) => matches(policy.podSelector, pod.labels)),
      };
    });
  }

  labelsOf(namespace: string): Labels {
    return this.#namespaceLabels.get(namespace) ?? nameLabel(namespace);
  }

  podsIn(namespace: string): readonly Pod[] {
    return this.#podsByNamespace.get(namespace) ?? [];
  }

  /** The live pods that a peer of one of the policies matches. */
  podsOfPeer(peer: PolicyPeer, policyNamespace: string): readonly Pod[] {
    let found = this.#podsOfPeer.get(peer);
    if (found === undefined) {
      found = this.#findPods(peer, policyNamespace);
      this.#podsOfPeer.set(peer, found);
    }
    return found;
  }

  #findPods(peer: PolicyPeer, policyNamespace: string): readonly Pod[] {
    if (peer.kind !== 'pods') return [];
    const { namespaceSelector, podSelector } = peer;
    const namespaces =
      namespaceSelector === undefined
        ? [policyNamespace]
        : [...this.#podsByNamespace.keys()].filter((name) => matches(namespaceSelector, this.labelsOf(name)));
    return namespaces
      .flatMap((name) => this.podsIn(name))
      .filter((pod) => podSelector === undefined || matches(podSelector, pod.labels));
  }
}

/** The policies that have an error of their own. */
function validationErrors(manifests: Manifests, invalid: readonly Problem[]): ReadonlySet<ManifestObject> {
  if (!invalid.some((problem) => problem.severity === 'error')) return new Set();
  return new Set(
    manifests.objects.filter((origin) => {
      if (origin.value.kind !== 'NetworkPolicy') return false;
      return validateObjects([origin]).some((problem) => problem.severity === 'error');
    }),
  );
}

function nameLabel(namespace: string): Labels {
  return new Map([[namespaceNameLabel, namespace]]);
}

export function problemAt(
  origin: ManifestObject,
  path: FieldPath,
  problem: Omit<Problem, 'source'>,
  what: 'key' | 'value' = 'value',
): Problem {
  return { ...problem, source: origin.locate(path, what) };
}
