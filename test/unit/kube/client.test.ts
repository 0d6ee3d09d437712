/** The REST client over real TLS: who is believed, who we are, and what becomes of every answer that is none. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { inClusterAccess } from '../../../src/kube/access.js';
import { KubeClient } from '../../../src/kube/client.js';
import type { KubeError, KubeErrorCode } from '../../../src/kube/error.js';
import { kubeconfigAccess } from '../../../src/kube/kubeconfig.js';
import type { Misbehaviour } from '../../support/api-server.js';
import { authority } from '../../support/certificate.js';
import { apiServer, plainAccess, pod } from '../../support/kube.js';

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'weft-kube-'));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

async function secure(t: TestContext) {
  const trusted = authority();
  const { certificate, key } = trusted.server();
  const server = await apiServer(t, {
    tls: { cert: certificate, key, ca: trusted.ca, requestCert: true, rejectUnauthorized: false },
  });
  server.put('pods', pod('p'));
  return { trusted, server };
}

test('a pod of a cluster: CA and token from the mounted folder, the token read again when it is replaced', async (t) => {
  const { trusted, server } = await secure(t);
  const mounted = folder(t);
  writeFileSync(join(mounted, 'ca.crt'), trusted.ca);
  writeFileSync(join(mounted, 'token'), 'first\n');
  const access = inClusterAccess(
    { KUBERNETES_SERVICE_HOST: '127.0.0.1', KUBERNETES_SERVICE_PORT: String(server.port) },
    '',
    mounted,
  );
  const client = new KubeClient(access);
  t.after(() => client.close());
  server.tokens = new Set(['first']);
  await client.get('/api/v1/pods');
  writeFileSync(join(mounted, 'new'), 'second');
  renameSync(join(mounted, 'new'), join(mounted, 'token'));
  server.tokens = new Set(['second']);
  await client.get('/api/v1/pods');
  assert.deepEqual(
    server.seen.map(({ authorization }) => authorization),
    ['Bearer first', 'Bearer second'],
  );
});

test('a token that is replaced between question and answer is tried at once, also by a watch', async (t) => {
  const server = await apiServer(t);
  const mounted = folder(t);
  const file = join(mounted, 'token');
  writeFileSync(file, 'old');
  const client = new KubeClient(plainAccess(server.url, { token: { kind: 'file', path: file } }));
  t.after(() => client.close());
  server.misbehave = ({ authorization }) => {
    if (authorization === 'Bearer new') return undefined;
    writeFileSync(file, 'new');
    return { status: 401 };
  };
  await client.get('/api/v1/pods');
  writeFileSync(file, 'old');
  await new Promise<void>((resolve, reject) => {
    const stop = client.watch(
      '/api/v1/pods',
      { query: { watch: 1 }, patience: 5000 },
      {
        open: () => {
          stop();
          resolve();
        },
        data: () => {},
        end: reject,
      },
    );
  });
});

test('a certificate of another authority is not believed, and says so; the kubeconfig may ask for it', async (t) => {
  const { server } = await secure(t);
  const other = authority('another');
  const config = (extra: string) =>
    kubeconfigAccess(
      `current-context: c
contexts: [{ name: c, context: { cluster: k } }]
clusters: [{ name: k, cluster: { server: '${server.url}', ${extra} } }]`,
      '/etc/config',
    );
  const refused = new KubeClient(
    config(`certificate-authority-data: ${Buffer.from(other.ca).toString('base64')}`),
  );
  await assert.rejects(refused.get('/api/v1/pods'), { code: 'kube-tls' });
  const careless = new KubeClient(config('insecure-skip-tls-verify: true'));
  t.after(() => careless.close());
  await careless.get('/api/v1/pods');
});

test('a certificate is for the name that tls-server-name says, and else for the host of the URL', async (t) => {
  const trusted = authority();
  const { certificate, key } = trusted.server('api.example');
  const server = await apiServer(t, { tls: { cert: certificate, key } });
  server.put('pods', pod('p'));
  const ask = async (extra: string) => {
    const client = new KubeClient(
      kubeconfigAccess(
        `current-context: c
contexts: [{ name: c, context: { cluster: k } }]
clusters: [{ name: k, cluster: { server: '${server.url}', certificate-authority-data: ${Buffer.from(trusted.ca).toString('base64')}${extra} } }]`,
        '/etc/config',
      ),
    );
    t.after(() => client.close());
    await client.get('/api/v1/pods');
  };
  await ask(', tls-server-name: api.example');
  await assert.rejects(ask(''), { code: 'kube-tls' });
  await assert.rejects(ask(', tls-server-name: elsewhere.example'), { code: 'kube-tls' });
});

for (const how of ['inline', 'by file'] as const)
  test(`a client certificate ${how}`, async (t) => {
    const { trusted, server } = await secure(t);
    const { certificate, key } = trusted.client('system:node');
    const place = folder(t);
    const base64 = (text: string) => Buffer.from(text).toString('base64');
    writeFileSync(join(place, 'ca.pem'), trusted.ca);
    writeFileSync(join(place, 'client.pem'), certificate);
    writeFileSync(join(place, 'key.pem'), key);
    const user =
      how === 'inline'
        ? `{ client-certificate-data: ${base64(certificate)}, client-key-data: ${base64(key)} }`
        : '{ client-certificate: client.pem, client-key: key.pem }';
    const ca =
      how === 'inline'
        ? `certificate-authority-data: ${base64(trusted.ca)}`
        : 'certificate-authority: ca.pem';
    const client = new KubeClient(
      kubeconfigAccess(
        `current-context: c
contexts: [{ name: c, context: { cluster: k, user: u } }]
clusters: [{ name: k, cluster: { server: '${server.url}', ${ca} } }]
users: [{ name: u, user: ${user} }]`,
        join(place, 'config'),
      ),
    );
    t.after(() => client.close());
    await client.get('/api/v1/pods');
    assert.equal(server.seen[0]?.certificate, 'system:node');
  });

const refusals: readonly (readonly [string, ReturnType<Misbehaviour>, KubeErrorCode, RegExp])[] = [
  ['401', { status: 401 }, 'kube-unauthorized', /401/],
  ['403', { status: 403 }, 'kube-forbidden', /403/],
  ['404', { status: 404 }, 'kube-absent', /404/],
  ['410', { status: 410 }, 'kube-expired', /410/],
  ['429', { status: 429, headers: { 'retry-after': '7' } }, 'kube-busy', /429/],
  ['503 of a proxy', { status: 503, body: '<html>upstream is down</html>' }, 'kube-busy', /upstream is down/],
  ['500', { status: 500 }, 'kube-failed', /500/],
  ['a redirect', { status: 302, headers: { location: 'http://127.0.0.1:1/' } }, 'kube-failed', /302/],
  ['garbage', { status: 200, body: '{"kind":"PodLi' }, 'kube-garbled', /no JSON/],
  ['nothing', { status: 200, body: '' }, 'kube-garbled', /no JSON/],
  ['too much', { status: 200, body: `"${'x'.repeat(200)}"` }, 'kube-too-large', /100 bytes/],
  ['silence', 'silence', 'kube-away', /did not answer/],
  ['a cut connection', 'cut', 'kube-away', /cannot be reached/],
];

for (const [name, behaviour, code, words] of refusals)
  test(`${name} is ${code}`, async (t) => {
    const server = await apiServer(t);
    server.misbehave = () => behaviour;
    const client = new KubeClient(plainAccess(server.url));
    t.after(() => client.close());
    await assert.rejects(
      client.get('/api/v1/pods', { longest: 100, timeout: behaviour === 'silence' ? 50 : 5000 }),
      (error: KubeError) => {
        assert.equal(error.code, code);
        assert.match(error.message, words);
        assert.equal(error.retryAfter, name === '429' ? 7000 : 0);
        return true;
      },
    );
    if (behaviour !== 'silence') assert.equal(server.seen.length, 1, 'refusals are not asked for twice');
  });

test('what a server says at length is shortened', async (t) => {
  const server = await apiServer(t);
  server.misbehave = () => ({ status: 500, body: 'x'.repeat(50_000) });
  const client = new KubeClient(plainAccess(server.url));
  t.after(() => client.close());
  await assert.rejects(client.get('/api/v1/pods'), ({ message }: Error) => message.length < 600);
});

test('an idle connection that the server had closed is no failure', async (t) => {
  const server = await apiServer(t);
  const client = new KubeClient(plainAccess(server.url));
  t.after(() => client.close());
  for (let i = 0; i < 5; i++) {
    await client.get('/api/v1/pods');
    // At the same port; the client's idle connections are to the former one.
    await server.down();
    await server.up();
  }
});

test('a server that is not there', async () => {
  const client = new KubeClient(plainAccess('http://127.0.0.1:1'));
  await assert.rejects(client.get('/api/v1/pods'), { code: 'kube-away', message: /ECONNREFUSED/ });
});

test('localhost is this machine in either family, whatever the resolver says of it', async (t) => {
  for (const address of ['127.0.0.1', '::1']) {
    const server = createServer((_, answer) => answer.end('{"at":"home"}'));
    t.after(() => server.close());
    server.listen(0, address);
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    for (const name of ['localhost', 'no-file-of-hosts-has.localhost', 'LOCALHOST.']) {
      const client = new KubeClient(plainAccess(`http://${name}:${port}`), 'test');
      assert.deepEqual(await client.get('/'), { at: 'home' }, `${name} at ${address}`);
      client.close();
    }
  }
});

test('a token that cannot stand in a header is told without being shown', async (t) => {
  const server = await apiServer(t);
  const client = new KubeClient(
    plainAccess(server.url, { token: { kind: 'inline', bytes: Buffer.from('secret\nx: y') } }),
  );
  await assert.rejects(client.get('/api/v1/pods'), ({ code, message }: KubeError) => {
    assert.equal(code, 'kube-unauthorized');
    assert.doesNotMatch(message, /secret/);
    return true;
  });
  assert.equal(server.seen.length, 0);
});

test('a token goes out unencrypted only to the node itself', () => {
  const token = { kind: 'inline', bytes: Buffer.from('t') } as const;
  for (const server of [
    'http://10.0.0.1:8080',
    'http://127.0.0.1.example.org',
    'http://localhost.example.org/',
  ])
    assert.throws(() => new KubeClient(plainAccess(server, { token })), { code: 'kube-credentials' }, server);
  for (const server of ['http://127.0.0.1:8080', 'http://[::1]:1', 'http://localhost', 'https://10.0.0.1'])
    new KubeClient(plainAccess(server, { token }));
});

test('credentials that go missing are told, at the start and while a watch is refused', async (t) => {
  const server = await apiServer(t);
  const place = folder(t);
  const path = join(place, 'token');
  const client = new KubeClient(plainAccess(server.url, { token: { kind: 'file', path } }));
  const watch = () =>
    new Promise<KubeError | null>((end) => {
      client.watch(
        '/api/v1/pods',
        { query: { watch: 1 }, patience: 5000 },
        { open: () => {}, data: () => {}, end },
      );
    });
  await assert.rejects(client.get('/api/v1/pods'), { code: 'kube-credentials', message: /ENOENT/ });
  assert.match((await watch())?.message ?? '', /ENOENT/);
  server.misbehave = () => {
    rmSync(path, { force: true });
    return { status: 401 };
  };
  writeFileSync(path, 'token');
  assert.match((await watch())?.message ?? '', /ENOENT/);
});

test('a body is sent as what it is', async (t) => {
  const server = await apiServer(t);
  const types: (string | undefined)[] = [];
  server.misbehave = ({ method, body }) => {
    types.push(method);
    return { status: 201, body };
  };
  const client = new KubeClient(plainAccess(server.url));
  t.after(() => client.close());
  const event = { kind: 'Event', message: 'ümläut' };
  assert.deepEqual(await client.send('POST', '/api/v1/namespaces/default/events', { body: event }), event);
  assert.deepEqual(await client.send('PATCH', '/api/v1/namespaces/default/events/e', { body: event }), event);
  assert.deepEqual(types, ['POST', 'PATCH']);
});
