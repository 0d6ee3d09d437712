/**
 * Objects of the API with something wrong anywhere, as a newer server, an admission hook or an attacker with rights to one kind could put them.
 * Nothing throws from the watch to the image, a policy that has a name is never absent, and pods that a sound policy closes stay closed.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { compile } from '../../src/image/compile.js';
import { decode as decodeImage } from '../../src/image/decode.js';
import { Compactor } from '../../src/kube/compact.js';
import { decode, resources } from '../../src/kube/resource.js';
import { Store } from '../../src/kube/store.js';
import { World } from '../../src/model/world.js';
import { address } from '../../src/net/address.js';
import { damage, damaged } from '../support/damage.js';
import { worlds } from '../support/worlds.js';

const seed = Number(process.env.WEFT_PROPERTY_SEED ?? 20240602);
const numRuns = Number(process.env.WEFT_PROPERTY_RUNS ?? 500);

/** What every world here has besides: a pod that is closed by a policy of its own namespace, all of it sound. */
const victim = {
  kind: 'Pod',
  metadata: { namespace: 'closed', name: 'victim', uid: 'u', labels: { app: 'victim' } },
  spec: { nodeName: 'n', containers: [{ name: 'c' }] },
  status: { phase: 'Running', podIP: '10.200.0.1', podIPs: [{ ip: '10.200.0.1' }] },
};
const closing = {
  kind: 'NetworkPolicy',
  metadata: { namespace: 'closed', name: 'deny-all', uid: 'p' },
  spec: { podSelector: {}, policyTypes: ['Ingress', 'Egress'] },
};
const kinds = new Map(resources.map((resource) => [resource.name, resource]));

test(`no object of the API throws, a named policy is never absent, a closed pod stays closed (seed ${seed})`, () => {
  let policies = 0;
  fc.assert(
    fc.property(worlds, fc.array(damage, { minLength: 1, maxLength: 8, size: 'max' }), (generated, wrong) => {
      const stores = new Map(resources.map(({ kind }) => [kind, new Store(kind)]));
      const compactor = new Compactor();
      const world = new World();
      const broken = damaged(generated.objects, wrong);
      for (const [index, value] of [victim, closing, ...broken].entries()) {
        // Which watch it comes by is the server's word, whatever the object says of its own kind.
        const told = generated.objects[index - 2] as { kind?: unknown } | undefined;
        const resource = kinds.get(String(index < 2 ? value.kind : told?.kind));
        if (resource === undefined) continue;
        const decoded = decode(resource, value, compactor);
        if (decoded === undefined) continue;
        if (resource.kind === 'policy') {
          policies++;
          assert.ok(decoded.object !== undefined, JSON.stringify(value));
        }
        for (const event of stores.get(resource.kind)!.put(decoded)) world.apply(event);
      }
      const decodedImage = decodeImage(compile(world, { node: 'n' }).image);
      assert.ok('image' in decodedImage);
      const { image } = decodedImage;
      const { program } = image.classify(address('10.200.0.1'));
      assert.ok(program !== null);
      const stranger = image.classify(address('203.0.113.9')).peerClass;
      for (const direction of ['ingress', 'egress'] as const) {
        assert.ok(image.isolated(program, direction));
        assert.equal(image.judge(program, direction, stranger, 6, 80).allowed, false);
      }
    }),
    { seed, numRuns },
  );
  assert.ok(policies > numRuns, `${policies} policies`);
});
