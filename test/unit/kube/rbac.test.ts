/** deploy/rbac.yaml and the requests that the client really makes: everything asked for is allowed, everything allowed is asked for. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseAllDocuments } from 'yaml';
import { resources, verbsFor } from '../../../src/kube/resource.js';
import { eventually } from '../../support/agent-fixture.js';
import type { Misbehaviour, SeenRequest } from '../../support/api-server.js';
import { apiServer, namespace, pod, watching } from '../../support/kube.js';
import { repositoryRoot } from '../../support/repository.js';

interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly rules?: readonly {
    readonly apiGroups: string[];
    readonly resources: string[];
    readonly verbs: string[];
  }[];
  readonly roleRef?: { readonly kind: string; readonly name: string };
  readonly subjects?: readonly { readonly kind: string; readonly name: string; readonly namespace: string }[];
}

const manifests = parseAllDocuments(readFileSync(join(repositoryRoot, 'deploy', 'rbac.yaml'), 'utf8')).map(
  (document) => document.toJS() as Manifest,
);

/** `GROUP/RESOURCE VERB` of a role. */
function allowedBy(role: string): string[] {
  const { rules = [] } = manifests.find(
    ({ kind, metadata }) => kind === 'ClusterRole' && metadata.name === role,
  )!;
  return rules
    .flatMap(({ apiGroups, resources, verbs }) =>
      apiGroups.flatMap((group) =>
        resources.flatMap((resource) => verbs.map((verb) => `${group}/${resource} ${verb}`)),
      ),
    )
    .sort();
}

/** As a server's authorizer sees a request. */
function permission({ path, query }: SeenRequest): string {
  const found =
    /^\/(?:api|apis\/(?<group>[^/]+))\/[^/]+\/(?:namespaces\/[^/]+\/(?=.))?(?<resource>[^/]+)(?<name>\/[^/]+)?$/.exec(
      path,
    )?.groups;
  assert.ok(found, path);
  const verb = query.watch !== undefined ? 'watch' : found.name === undefined ? 'list' : 'get';
  return `${found.group ?? ''}/${found.resource} ${verb}`;
}

function guard(allowed: readonly string[]): Misbehaviour {
  return (request) => {
    const wanted = permission(request);
    if (allowed.includes(wanted)) return undefined;
    const body = {
      kind: 'Status',
      message: `forbidden: User "system:serviceaccount:kube-system:weft" cannot: ${wanted}`,
    };
    return { status: 403, body: JSON.stringify(body) };
  };
}

test('the role is what the table of resources says', () => {
  assert.deepEqual(
    allowedBy('weft'),
    resources
      .flatMap((resource) =>
        verbsFor(resource).map((verb) => `${resource.group}/${resource.resource} ${verb}`),
      )
      .sort(),
  );
});

test('the role is enough for everything that is done, and nothing of it is left over', async (t) => {
  const server = await apiServer(t);
  const allowed = allowedBy('weft');
  server.misbehave = guard(allowed);
  const it = watching(t, server, { page: 1 });
  await it.caughtUp();
  server.holdBack('pods');
  server.holdBack('namespaces');
  server.put('namespaces', namespace('default'));
  server.put('pods', pod('a'));
  assert.equal(await it.source.lookUp('default', 'a'), 'known');
  await it.source.refresh();
  assert.deepEqual(it.problems(), []);
  assert.deepEqual([...new Set(server.seen.map(permission))].sort(), allowed);
});

for (const denied of allowedBy('weft').filter((one) => !one.endsWith(' get')))
  test(`without "${denied}" the problem names the rule`, async (t) => {
    const server = await apiServer(t);
    server.misbehave = guard(allowedBy('weft').filter((one) => one !== denied));
    const it = watching(t, server);
    await eventually('it is told', () => it.problems().length > 0);
    const [group, resource] = denied.split(' ')[0]!.split('/') as [string, string];
    const [problem] = it.problems();
    assert.equal(problem?.code, 'kube-forbidden');
    assert.ok(problem?.fix?.includes(`apiGroups: ["${group}"], resources: ["${resource}"]`), problem?.fix);
  });

test('both roles are bound to the service account, and Events are all that the second adds', () => {
  assert.deepEqual(allowedBy('weft-events'), ['/events create', '/events patch']);
  const account = manifests.find(({ kind }) => kind === 'ServiceAccount')!.metadata;
  for (const role of ['weft', 'weft-events']) {
    const binding = manifests.find(
      ({ kind, roleRef }) => kind === 'ClusterRoleBinding' && roleRef?.name === role,
    );
    assert.deepEqual(binding?.subjects, [
      { kind: 'ServiceAccount', name: account.name, namespace: account.namespace },
    ]);
  }
});
