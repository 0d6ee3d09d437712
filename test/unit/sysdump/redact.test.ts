import assert from 'node:assert/strict';
import { test } from 'node:test';
import { redact } from '../../../src/cli/sysdump/redact.js';

const secret = 'Hunter2-s3cr3t';
const jwt = `eyJhbGciOiJSUzI1NiJ9.${Buffer.from('{"sub":"x"}').toString('base64url')}.c2lnbmF0dXJlMTIz`;
const pem = '-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIHunter2\n-----END EC PRIVATE KEY-----';

const planted: readonly string[] = [
  `token: ${secret}`,
  `    client-key-data: ${secret}`,
  `client-certificate-data: ${secret}`,
  `{"password":"${secret}"}`,
  `{"msg":"{\\"token\\":\\"${secret}\\"}"}`,
  `{ 'apiKey': '${secret} with spaces ${secret}' }`,
  `MYSQL_ROOT_PASSWORD=${secret}`,
  `AWS_SECRET_ACCESS_KEY="${secret}"`,
  `k3s server --token ${secret} --disable traefik`,
  `k3s agent --agent-token=${secret}`,
  `Authorization: Bearer ${secret}`,
  `curl -H 'Authorization: Basic ${secret}'`,
  `https://user:${secret}@proxy.example:3128/`,
  `K10${'ab'.repeat(32)}::server:${secret}`,
  `?access_token=${secret}&x=1`,
  `password: |\n  ${secret}\n  ${secret}\nother: 1`,
  `bootstrapToken: >-\n\t${secret}\n`,
  `Set-Cookie: session=${secret}; path=/`,
  jwt,
  `x-token ${jwt} y`,
  pem,
  `data: ${Buffer.from(pem).toString('base64')}`,
];
for (const text of planted) {
  test(`a secret does not pass: ${text.split('\n')[0]!.slice(0, 60)}`, () => {
    const left = redact(`before\n${text}\nafter\n`);
    for (const part of [
      secret,
      'MHcCAQEEIHunter2',
      'c2lnbmF0dXJlMTIz',
      Buffer.from(pem).toString('base64').slice(20, 60),
    ])
      assert.ok(!left.includes(part), left);
    assert.match(left, /^before\n[\s\S]*after\n$/, 'what stands around it stays');
    assert.equal(redact(left), left, 'twice is once');
  });
}

const harmless: readonly string[] = [
  'weft_ipam_addresses_used{cidr="10.42.0.0/24"} 3',
  'answers use a token bucket of 10 a second',
  'net.ipv4.tcp_syncookies = 1',
  '{"policy":"shop/deny","direction":"egress","rule":1}',
  'kubeconfig: /etc/rancher/k3s/k3s.yaml',
  'tokenFile: /var/run/secrets/kubernetes.io/serviceaccount/token',
  'https://127.0.0.1:6443/api/v1/pods?watch=true',
  'inet6 fd42::1/64 scope global',
];
for (const text of harmless) {
  test(`what is no secret stays: ${text.slice(0, 50)}`, () => assert.equal(redact(text), text));
}

test('a long line without an end is read once, not again from each of its characters', () => {
  const words = ['a', '-', 'token', 'eyJ', ':', '="', '://', 'LS0tLS1CRUdJTi', '\\'].map((word) =>
    word.repeat(200_000 / word.length),
  );
  for (const word of words) assert.ok(redact(word).length <= word.length + 20);
});
