/** A lab without root, where the machine lets users make namespaces and open TAPs; and one clear sentence where it does not. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const entry = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));
const nobody = ['setpriv', '--reuid', '65534', '--regid', '65534', '--clear-groups'];

/** Runs a script in a mount namespace of its own, where /dev can be changed without anybody noticing. */
function privately(
  script: string,
  ...args: readonly string[]
): { status: number | null; stdout: string; stderr: string } {
  return spawnSync('unshare', ['--mount', '--propagation', 'private', 'sh', '-ec', script, 'sh', ...args], {
    encoding: 'utf8',
    timeout: 60_000,
    env: { ...process.env, NO_COLOR: '1', HOME: '/' },
  });
}
const device = (mode: string) =>
  `mount -t tmpfs t /mnt; mknod -m ${mode} /mnt/tun c 10 200; mount --bind /mnt/tun /dev/net/tun; cd /; `;
const lab = [process.execPath, entry, 'lab', 'demo'];

/** A checkout in root's home is not for everybody's eyes; then there is nothing to try. */
const readable = spawnSync('setpriv', [
  ...nobody.slice(1),
  process.execPath,
  '-e',
  `require('fs').accessSync('${entry}')`,
]);

describe('a lab without root', () => {
  test('works where /dev/net/tun is open to everybody', (context) => {
    const allowed = spawnSync(nobody[0]!, [
      ...nobody.slice(1),
      'unshare',
      '--user',
      '--map-root-user',
      'true',
    ]);
    if (readable.status !== 0) return context.skip('the checkout is not readable for other users');
    if (allowed.status !== 0) return context.skip('users may not make namespaces here');
    const { status, stdout, stderr } = privately(`${device('666')} exec "$@"`, ...nobody, ...lab);
    assert.equal(status, 0, stderr);
    assert.match(stdout, /every one as expected/);
  });

  test('says in one sentence that /dev/net/tun is not open to users, and what to do', (context) => {
    if (readable.status !== 0) return context.skip('the checkout is not readable for other users');
    const { status, stderr } = privately(`${device('600')} exec "$@"`, ...nobody, ...lab);
    assert.equal(status, 2);
    assert.match(stderr, /You may not open \/dev\/net\/tun\. Run the lab as root \(sudo\), or .*chmod 666/);
  });

  test('says in one sentence that /dev/net/tun is missing, and what to do', () => {
    const { status, stderr } = privately('mount -t tmpfs t /dev/net; exec "$@"', ...lab);
    assert.equal(status, 2);
    assert.match(stderr, /\/dev\/net\/tun is missing.*modprobe tun/);
  });

  test('says that namespaces are refused, and what to do', () => {
    // Without any capability even root may not make namespaces; the device stays open to its owner.
    const { status, stderr } = privately(
      'exec setpriv --bounding-set -sys_admin --inh-caps -sys_admin "$@"',
      ...lab,
    );
    assert.equal(status, 2);
    assert.match(stderr, /does not let root make namespaces.*--privileged/);
  });
});
