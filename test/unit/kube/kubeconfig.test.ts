import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { inClusterAccess } from '../../../src/kube/access.js';
import { defaultKubeconfigs, kubeconfigAccess, readKubeconfig } from '../../../src/kube/kubeconfig.js';

const file = '/etc/rancher/k3s/k3s.yaml';
const config = (
  user: string,
  cluster = 'server: https://10.0.0.1:6443/',
  context = 'cluster: k, user: u',
) => `
apiVersion: v1
kind: Config
current-context: here
contexts:
- { name: here, context: { ${context} } }
- { name: there, context: { cluster: other, user: u } }
clusters:
- { name: k, cluster: { ${cluster} } }
- { name: other, cluster: { server: 'https://[fd00::1]:6443' } }
users:
- name: u
  user: { ${user} }
`;

test('server, context and token', () => {
  const access = kubeconfigAccess(config('token: abc'), file);
  assert.equal(access.server, 'https://10.0.0.1:6443');
  assert.equal(access.token?.kind === 'inline' && access.token.bytes.toString(), 'abc');
  assert.equal(access.from, `the context "here" of ${file}`);
  assert.equal(
    kubeconfigAccess(config('token: abc'), file, { context: 'there' }).server,
    'https://[fd00::1]:6443',
  );
  assert.equal(
    kubeconfigAccess(config('token: abc'), file, { server: 'https://127.0.0.1:6444' }).server,
    'https://127.0.0.1:6444',
  );
});

test('files are relative to the kubeconfig; what is inline wins, but for the token', () => {
  const access = kubeconfigAccess(
    config(
      `token: abc, tokenFile: tok, client-certificate: ../c.pem, client-key-data: ${Buffer.from('k').toString('base64')}`,
      'server: https://a, certificate-authority: /ca.pem, tls-server-name: api.example',
    ),
    file,
  );
  assert.deepEqual(access.token, { kind: 'file', path: '/etc/rancher/k3s/tok' });
  assert.deepEqual(access.certificate?.certificate, { kind: 'file', path: '/etc/rancher/c.pem' });
  assert.equal(access.certificate?.key.kind, 'inline');
  assert.deepEqual(access.ca, { kind: 'file', path: '/ca.pem' });
  assert.equal(access.serverName, 'api.example');
});

test('a proxy is not used, and says so', () => {
  const { notes } = kubeconfigAccess(config('token: a', 'server: https://a, proxy-url: http://p:3128'), file);
  assert.match(notes.join(), /proxy-url/);
});

const wrong: readonly (readonly [string, string, string, RegExp])[] = [
  [
    'an exec plugin',
    config('exec: { command: aws }'),
    'kubeconfig-plugin',
    /program aws.*token or a client certificate/,
  ],
  ['an auth provider', config('auth-provider: { name: oidc }'), 'kubeconfig-plugin', /auth-provider oidc/],
  ['a password', config('username: admin, password: x'), 'kubeconfig-plugin', /password/],
  ['impersonation', config('token: a, as: root'), 'kubeconfig-invalid', /impersonates "root"/],
  ['half a client certificate', config('client-key: k.pem'), 'kubeconfig-invalid', /one half/],
  ['no server', config('token: a', "server: ''"), 'kubeconfig-invalid', /no http or https server/],
  ['another scheme', config('token: a', 'server: ftp://x'), 'kubeconfig-invalid', /no http or https server/],
  [
    'no such user',
    config('token: a', 'server: https://a', 'cluster: k, user: nobody'),
    'kubeconfig-invalid',
    /no user "nobody".*It has: u/,
  ],
  [
    'no such cluster',
    config('token: a', 'server: https://a', 'cluster: x'),
    'kubeconfig-invalid',
    /no cluster "x".*It has: k, other/,
  ],
  ['no context', 'apiVersion: v1', 'kubeconfig-invalid', /no current-context/],
  ['no YAML', '{ a: [', 'kubeconfig-invalid', /no valid YAML/],
  ['aliases that grow', 'a: &a [x]\nb: [*a]', 'kubeconfig-invalid', /no valid YAML/],
  [
    'a CA that insecure-skip-tls-verify would pass over',
    config('token: a', 'server: https://a, certificate-authority: ca.pem, insecure-skip-tls-verify: true'),
    'kubeconfig-invalid',
    /certificate authority for the cluster "k" and insecure-skip-tls-verify/,
  ],
  ['a list', '- a', 'kubeconfig-invalid', /no mapping/],
];

for (const [name, text, code, message] of wrong)
  test(`${name} is refused`, () => {
    assert.throws(() => kubeconfigAccess(text, file), { code, message });
  });

test('a file that is not there', () => {
  assert.throws(() => readKubeconfig('/nowhere/config'), { code: 'kubeconfig-read', message: /ENOENT/ });
});

test('where kubectl looks', () => {
  assert.deepEqual(defaultKubeconfigs({ HOME: '/root' }), ['/root/.kube/config']);
  assert.deepEqual(defaultKubeconfigs({ HOME: '/root', KUBECONFIG: ':/a::/b' }), ['/a', '/b']);
});

test('in a cluster: the Service address, IPv6 too, or the server that is configured', () => {
  const environment = { KUBERNETES_SERVICE_HOST: 'fd00::1', KUBERNETES_SERVICE_PORT: '443' };
  assert.equal(inClusterAccess(environment).server, 'https://[fd00::1]:443');
  assert.equal(inClusterAccess(environment, 'https://127.0.0.1:6443/').server, 'https://127.0.0.1:6443');
  assert.throws(() => inClusterAccess({}), { code: 'kube-credentials', message: /kubernetes\.kubeconfig/ });
});

/** Writes files into a folder of its own; their paths. */
function files(t: TestContext, texts: Readonly<Record<string, string>>): string[] {
  const folder = mkdtempSync(join(tmpdir(), 'weft-kubeconfig-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return Object.entries(texts).map(([name, text]) => {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  });
}

test('of several files the first entry of a name counts, whole, wherever the others it names are', (t) => {
  const [first = '', second = '', third = ''] = files(t, {
    'one/config': "contexts: [{ name: c, context: { cluster: k, user: u } }]\ncurrent-context: ''\n",
    'two/config':
      'current-context: c\nclusters: [{ name: k, cluster: { server: https://two, certificate-authority: ca.pem } }]\n',
    'three/config': `current-context: other
clusters: [{ name: k, cluster: { server: https://three, tls-server-name: three } }, { name: alone, cluster: { server: https://alone } }]
contexts: [{ name: c, context: { cluster: nowhere } }, { name: other, context: { cluster: alone, user: u } }]
users: [{ name: u, user: { tokenFile: token } }]
`,
  });
  const access = readKubeconfig([first, second, third]);
  assert.equal(access.server, 'https://two');
  assert.equal(access.serverName, null, 'nothing of the second entry of that name');
  assert.equal(access.from, `the context "c" of ${first}`);
  // Files are relative to the file that names them.
  assert.deepEqual(access.ca, { kind: 'file', path: join(dirname(second), 'ca.pem') });
  assert.deepEqual(access.token, { kind: 'file', path: join(dirname(third), 'token') });
  assert.equal(readKubeconfig([first, second, third], { context: 'other' }).server, 'https://alone');
  // The other way round the third one has the say.
  assert.equal(readKubeconfig([third, second, first]).server, 'https://alone');
  assert.throws(() => readKubeconfig([third, second, first], { context: 'c' }), {
    code: 'kubeconfig-invalid',
    message: /no cluster "nowhere"/,
  });
});

test('of several files those that are missing or empty are passed over, a broken one is not', (t) => {
  const [good = '', empty = '', broken = '', plugin = ''] = files(t, {
    good: config('token: abc'),
    empty: '',
    broken: 'a: [',
    plugin: 'users: [{ name: u, user: { exec: { command: aws } } }]\n',
  });
  assert.equal(readKubeconfig(['/nowhere/config', empty, good]).server, 'https://10.0.0.1:6443');
  assert.throws(() => readKubeconfig([good, broken]), { code: 'kubeconfig-invalid', message: /broken/ });
  assert.throws(() => readKubeconfig(['/nowhere/a', '/nowhere/b']), {
    code: 'kubeconfig-read',
    message: /\/nowhere\/a, \/nowhere\/b/,
  });
  assert.throws(() => readKubeconfig([empty]), { code: 'kubeconfig-invalid', message: /no current-context/ });
  // A user of a plugin that comes first is refused by the name of its file, though a later one could log in.
  assert.throws(() => readKubeconfig([plugin, good]), {
    code: 'kubeconfig-plugin',
    message: /plugin runs the program aws/,
  });
});
