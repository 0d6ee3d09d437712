/**
 * Random histories of a cluster on a server that misbehaves at random: at the end the World is the server's, and at no moment after the
 * first sync is a policy absent that exists throughout.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { World } from '../../src/model/world.js';
import { ApiServer, type Misbehaviour } from '../support/api-server.js';
import { namespace, pod, policy, service, watching } from '../support/kube.js';

const small = fc.nat(4);
const resource = fc.constantFrom(
  'pods',
  'networkpolicies',
  'namespaces',
  'services',
  'nodes',
  'endpointslices',
);

type Step =
  | { readonly do: 'put'; readonly resource: string; readonly name: number; readonly value: number }
  | { readonly do: 'delete'; readonly resource: string; readonly name: number }
  | {
      readonly do: 'end';
      readonly how: 'end' | 'mid-line' | 'reset' | { readonly status: number };
      readonly resource: string;
    }
  | { readonly do: 'say'; readonly resource: string; readonly what: string }
  | { readonly do: 'hold'; readonly resource: string }
  | {
      readonly do:
        | 'compact'
        | 'release'
        | 'bookmark'
        | 'bounce'
        | 'refresh'
        | 'repeat'
        | 'split'
        | 'damage'
        | 'plain'
        | 'pause';
    }
  | { readonly do: 'lookUp'; readonly name: number }
  | { readonly do: 'misbehave'; readonly status: number; readonly share: number };

const change = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant('put' as const), resource, name: small, value: fc.nat(3) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('delete' as const), resource, name: small }) },
);
const trouble = fc.oneof(
  fc.record({
    do: fc.constant('end' as const),
    how: fc.oneof(
      fc.constantFrom('end' as const, 'mid-line' as const, 'reset' as const),
      fc.record({ status: fc.constantFrom(410, 429, 500) }),
    ),
    resource,
  }),
  fc.record({
    do: fc.constant('say' as const),
    resource,
    what: fc.constantFrom('}{\n', '{"type":"ADDED"}\n', '\n\n', '{"type":"ERROR","object":{"code":504}}\n'),
  }),
  fc.record({ do: fc.constant('hold' as const), resource }),
  fc.record({
    do: fc.constantFrom(
      ...([
        'compact',
        'release',
        'bookmark',
        'bounce',
        'refresh',
        'repeat',
        'split',
        'damage',
        'plain',
        'pause',
      ] as const),
    ),
  }),
  fc.record({ do: fc.constant('lookUp' as const), name: small }),
  fc.record({
    do: fc.constant('misbehave' as const),
    status: fc.constantFrom(0, 200, 401, 403, 410, 429, 500, 503),
    share: fc.constantFrom(1, 2, 3),
  }),
);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 3, arbitrary: change },
  { weight: 2, arbitrary: trouble },
);

function object(of: string, name: number, value: number) {
  const labels = { v: String(value) };
  switch (of) {
    case 'pods':
      return pod(`p${name}`, labels);
    case 'networkpolicies':
      return policy(`x${name}`, { podSelector: { matchLabels: labels }, ingress: new Array(value).fill({}) });
    case 'namespaces':
      return namespace(`n${name}`, labels);
    case 'services':
      return service(`s${name}`);
    case 'nodes':
      return { metadata: { name: `m${name}` }, status: {} };
    default:
      return {
        metadata: { namespace: 'default', name: `e${name}` },
        addressType: 'IPv4',
        endpoints: [{ addresses: [`10.42.0.${value + 1}`] }],
      };
  }
}

function misbehaviour(status: number, share: number): Misbehaviour {
  let count = 0;
  if (status === 200) return () => (++count % share === 0 ? { status, body: '<html>' } : undefined);
  if (status === 0) return () => (++count % share === 0 ? 'cut' : undefined);
  return () => (++count % share === 0 ? { status } : undefined);
}

async function play(
  server: ApiServer,
  steps: readonly Step[],
  it: ReturnType<typeof watching>,
): Promise<void> {
  for (const at of steps) {
    switch (at.do) {
      case 'put':
        server.put(at.resource, object(at.resource, at.name, at.value));
        // Those that exist throughout change too.
        if (at.resource === 'networkpolicies' && at.name === 0)
          server.put(
            'networkpolicies',
            policy('always', { podSelector: {}, ingress: new Array(at.value).fill({}) }),
          );
        break;
      case 'delete': {
        const { name, namespace: within } = object(at.resource, at.name, 0).metadata as {
          name: string;
          namespace?: string;
        };
        server.delete(at.resource, name, within);
        break;
      }
      case 'end':
        server.endWatches(at.how, at.resource);
        break;
      case 'say':
        server.say(at.resource, at.what);
        break;
      case 'hold':
        server.holdBack(at.resource);
        break;
      case 'compact':
        server.compact();
        break;
      case 'release':
        server.release();
        break;
      case 'bookmark':
        server.bookmark();
        break;
      case 'bounce':
        await server.down();
        await server.up();
        break;
      case 'refresh':
        it.source.refresh().catch(() => {});
        break;
      case 'repeat':
        server.encode = (line) => [`${line}\n`, `${line}\n`];
        break;
      case 'split':
        server.encode = (line) => [line.slice(0, 30), line.slice(30), '\n'];
        break;
      case 'damage':
        server.encode = (line, of) => [of === 'pods' ? `${line.slice(1)}\n` : `${line}\n`];
        break;
      case 'plain':
        server.encode = (line) => [`${line}\n`];
        break;
      case 'pause':
        await new Promise((resolve) => setTimeout(resolve, 8));
        break;
      case 'lookUp':
        it.source.lookUp('default', `p${at.name}`).catch(() => {});
        break;
      case 'misbehave':
        server.misbehave = misbehaviour(at.status, at.share);
        break;
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
}

test('whatever happens, the World ends as the server, and a policy that stays is never absent', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 80 }), async (steps) => {
      const ends: (() => unknown)[] = [];
      const context = { after: (end: () => unknown) => ends.push(end) } as never;
      const server = await ApiServer.start();
      try {
        server.put('networkpolicies', policy('always'));
        for (let i = 0; i < 3; i++) server.put('pods', pod(`p${i}`));
        let absent = 0;
        const it = watching(context, server, { page: 2 }, {}, (world: World) => {
          if (world.get('policy', 'default/always') === undefined) absent++;
        });
        await play(server, steps, it);
        server.misbehave = () => undefined;
        server.encode = (line) => [`${line}\n`];
        server.release();
        await it.caughtUp();
        assert.equal(absent, 0);
      } finally {
        for (const end of ends) end();
        await server.down();
      }
    }),
    { numRuns: 60, seed: 11, endOnFailure: true },
  );
});
