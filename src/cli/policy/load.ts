/** Manifests → what the policy tools ask: plain objects for the reference, the typed world and its directory for all else. */
import { decodeObjects, type ModelObjects } from '../../manifests/decode.js';
import type { ManifestObject } from '../../manifests/object.js';
import { isPlainObject, objectOf } from '../../manifests/plain.js';
import type { ResolvedManifests } from '../../manifests/read.js';
import { World } from '../../model/world.js';
import { Directory } from '../../policy/directory.js';
import type { EngineInput } from './engine.js';

export interface PolicyWorld extends EngineInput {
  readonly model: ModelObjects;
  /** The objects behind the model, with their places. */
  readonly manifests: readonly ManifestObject[];
}

/**
 * `addresses: 'assign'` gives every pod that has none (a manifest's pod never met a cluster) an address of each family; `'as-written'`
 * leaves such a pod without, and questions about it have no answer. `'no places'` saves looking up lines that nobody will see: in a large
 * JSON file the first of them costs seconds.
 */
export function policyWorld(
  resolved: ResolvedManifests,
  addresses: 'assign' | 'as-written',
  places: 'places' | 'no places' = 'places',
): PolicyWorld {
  const manifests = addresses === 'assign' ? withAddresses(resolved.objects) : resolved.objects;
  const model = decodeObjects(manifests, places);
  return {
    manifests,
    model,
    objects: manifests.map((object) => object.value),
    directory: new Directory(worldOf(model)),
  };
}

/** K3s' default range for pods, and a unique local one; counted up, past addresses that some object already has. */
const firstIPv4 = (10 << 24) | (42 << 16) | 2;
const prefixIPv6 = 'fd42::';

function withAddresses(objects: readonly ManifestObject[]): readonly ManifestObject[] {
  const needy = objects.filter(({ value }) => value.kind === 'Pod' && needsAddress(value));
  if (needy.length === 0) return objects;
  const wanting = new Set(needy);
  const written = JSON.stringify(objects.map(({ value }) => [value.status, objectOf(value.spec).clusterIP]));
  const taken = new Set(written.match(/(?<=")[0-9.]{7,15}(?=")/g));
  let next = firstIPv4;
  const fresh = (): string => {
    for (;;) {
      const text = [next >>> 24, (next >>> 16) & 255, (next >>> 8) & 255, next & 255].join('.');
      next++;
      if ((next & 255) !== 0 && !taken.has(text)) return text;
    }
  };
  return objects.map((object) => {
    if (!wanting.has(object)) return object;
    const ipv4 = fresh();
    const ipv6 = `${prefixIPv6}${(next & 0xffffff).toString(16).replace(/(.+)(....)$/, '$1:$2')}`;
    const status = { ...objectOf(object.value.status), podIPs: [{ ip: ipv4 }, { ip: ipv6 }] };
    return { ...object, value: { ...object.value, status } };
  });
}

function needsAddress(value: ManifestObject['value']): boolean {
  const status = objectOf(value.status);
  if (objectOf(value.spec).hostNetwork === true) return false;
  if (status.phase === 'Succeeded' || status.phase === 'Failed') return false;
  const listed = Array.isArray(status.podIPs) && status.podIPs.some(isPlainObject);
  return !listed && typeof status.podIP !== 'string';
}

/** Of several objects of one name the last counts (the later life, where uids tell lives apart). */
export function worldOf(model: ModelObjects): World {
  const world = new World();
  for (const namespace of model.namespaces) world.put('namespace', namespace);
  for (const node of model.nodes) world.put('node', node);
  for (const pod of model.pods) world.put('pod', pod);
  for (const policy of model.policies) world.put('policy', policy);
  for (const service of model.services) world.put('service', service);
  for (const slice of model.slices) world.put('slice', slice);
  return world;
}
