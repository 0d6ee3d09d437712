import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inClusterAccess } from '../../../src/kube/access.js';
import { defaultKubeconfig, kubeconfigAccess, readKubeconfig } from '../../../src/kube/kubeconfig.js';

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
  assert.equal(defaultKubeconfig({ HOME: '/root' }), '/root/.kube/config');
  assert.equal(defaultKubeconfig({ HOME: '/root', KUBECONFIG: ':/a:/b' }), '/a');
});

test('in a cluster: the Service address, IPv6 too, or the server that is configured', () => {
  const environment = { KUBERNETES_SERVICE_HOST: 'fd00::1', KUBERNETES_SERVICE_PORT: '443' };
  assert.equal(inClusterAccess(environment).server, 'https://[fd00::1]:443');
  assert.equal(inClusterAccess(environment, 'https://127.0.0.1:6443/').server, 'https://127.0.0.1:6443');
  assert.throws(() => inClusterAccess({}), { code: 'kube-credentials', message: /kubernetes\.kubeconfig/ });
});
