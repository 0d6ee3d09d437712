/** What `weft install` puts on a host, in a folder that stands for it. */
import assert from 'node:assert/strict';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { readConfiguration } from '../../../src/cni/configuration.js';
import { conflistText, namesWeft } from '../../../src/cni/conflist.js';
import { type InstallOptions, install, recordPath, uninstall } from '../../../src/cni/installation.js';
import { findPlaces } from '../../../src/cni/places.js';
import type { WeftError } from '../../../src/errors/problem.js';
import { repositoryRoot } from '../../support/repository.js';
import { weft } from '../../support/weft.js';

const programs = join(repositoryRoot, 'build', 'bin');

function host(t: TestContext): {
  root: string;
  options: InstallOptions;
  put(path: string, text: string): void;
  text(path: string): string;
} {
  const root = mkdtempSync(join(tmpdir(), 'weft-install-'));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  return {
    root,
    options: {
      root,
      bin: '/opt/cni/bin',
      configurations: '/etc/cni/net.d',
      runDir: '/run/weft',
      programs,
      force: false,
    },
    put(path, text) {
      mkdirSync(dirname(join(root, path)), { recursive: true });
      writeFileSync(join(root, path), text);
    },
    text: (path) => readFileSync(join(root, path), 'utf8'),
  };
}

const list = '/etc/cni/net.d/00-weft.conflist';
/** Paths that the record of what was installed names. */
const recorded = (root: string) =>
  (JSON.parse(readFileSync(join(root, recordPath), 'utf8')) as { files: { path: string }[] }).files.map(
    ({ path }) => path,
  );
const states = (files: readonly { what: string }[]) => files.map(({ what }) => what);
const code = (expected: string) => (error: WeftError) => error.code === expected;

test('programs and configuration are put in place, and again without a change', (t) => {
  const { root, options, text } = host(t);
  const first = install(options);
  assert.deepEqual(first.files, [
    { path: '/opt/cni/bin/weft-cni', what: 'written' },
    { path: '/opt/cni/bin/loopback', what: 'written' },
    { path: list, what: 'written' },
  ]);
  assert.equal(statSync(join(root, '/opt/cni/bin/weft-cni')).mode & 0o777, 0o755);
  assert.equal(statSync(join(root, list)).mode & 0o777, 0o644);
  assert.equal(text(list), conflistText('/run/weft'));
  const inode = statSync(join(root, '/opt/cni/bin/weft-cni')).ino;
  assert.deepEqual(states(install(options).files), ['unchanged', 'unchanged', 'unchanged']);
  assert.equal(statSync(join(root, '/opt/cni/bin/weft-cni')).ino, inode);
  // Nothing is left of the drafts, which a runtime could take for programs or configurations.
  assert.deepEqual(readdirSync(join(root, '/opt/cni/bin')).sort(), ['loopback', 'weft-cni']);
  assert.deepEqual(readdirSync(join(root, '/etc/cni/net.d')), ['00-weft.conflist']);
  assert.deepEqual(
    recorded(root),
    first.files.map(({ path }) => path),
  );
});

test('the configuration comes after the programs, and not at all without them', (t) => {
  const { root, options, put } = host(t);
  assert.throws(() => install({ ...options, programs: join(root, 'nowhere') }), code('install-programs'));
  assert.equal(existsSync(join(root, list)), false);
  // A file where the folder of programs should be: the configuration must not be there either.
  put('/opt/cni/bin', 'a file');
  assert.throws(() => install(options), code('install-write'));
  assert.equal(existsSync(join(root, list)), false);
});

test('an upgrade replaces our own files, also when the record was lost or they were edited', (t) => {
  const { root, options, put, text } = host(t);
  install(options);
  put('/opt/cni/bin/weft-cni', `older ${readFileSync(join(programs, 'weft-cni'), 'latin1')}`);
  rmSync(join(root, recordPath));
  assert.deepEqual(states(install({ ...options, runDir: '/run/other' }).files), [
    'written',
    'unchanged',
    'written',
  ]);
  assert.match(text(list), /"runDir": "\/run\/other"/);
  assert.ok(
    readFileSync(join(root, '/opt/cni/bin/weft-cni')).equals(readFileSync(join(programs, 'weft-cni'))),
  );
  chmodSync(join(root, '/opt/cni/bin/weft-cni'), 0o644);
  assert.equal(states(install(options).files)[0], 'written', 'a program that cannot be run is no program');
});

test("others' files stay: a loopback serves, anything else stops the installation until it is forced", (t) => {
  const { root, options, put, text } = host(t);
  put('/opt/cni/bin/loopback', 'of another make');
  assert.deepEqual(states(install(options).files), ['written', 'kept', 'written']);
  assert.equal(text('/opt/cni/bin/loopback'), 'of another make');
  assert.ok(!recorded(root).includes('/opt/cni/bin/loopback'));
  rmSync(join(root, list));
  put(list, '{"name":"foreign","plugins":[{"type":"bridge"}]}');
  assert.throws(() => install(options), code('install-foreign'));
  assert.match(text(list), /foreign/);
  assert.deepEqual(states(install({ ...options, force: true }).files), ['unchanged', 'written', 'written']);
});

test("a link of K3s' own multi-call program is not written through", (t) => {
  const { root, options, put, text } = host(t);
  put('/opt/cni/bin/cni', 'multi-call');
  symlinkSync('cni', join(root, '/opt/cni/bin/loopback'));
  assert.equal(states(install(options).files)[1], 'kept');
  assert.equal(text('/opt/cni/bin/cni'), 'multi-call');
});

test('configurations of other networks are told, and one that the runtime takes first', (t) => {
  const { options, put } = host(t);
  put('/etc/cni/net.d/10-flannel.conflist', '{}');
  put('/etc/cni/net.d/notes.txt', '');
  const { others, shadowedBy } = install(options);
  assert.deepEqual([others, shadowedBy], [['/etc/cni/net.d/10-flannel.conflist'], null]);
  put('/etc/cni/net.d/00-a.conf', '{}');
  assert.equal(install(options).shadowedBy, '/etc/cni/net.d/00-a.conf');
});

test('what was installed is removed, configuration first; what is not ours stays; twice is once', (t) => {
  const { root, options, put } = host(t);
  put('/etc/cni/net.d/10-other.conflist', '{}');
  install(options);
  put('/opt/cni/bin/loopback', 'replaced by a package since');
  const { removed, kept } = uninstall(root);
  assert.deepEqual(removed, [list, '/opt/cni/bin/weft-cni']);
  assert.deepEqual(kept, ['/opt/cni/bin/loopback']);
  assert.deepEqual(readdirSync(join(root, '/etc/cni/net.d')), ['10-other.conflist']);
  assert.equal(existsSync(join(root, recordPath)), false);
  assert.deepEqual(uninstall(root), { removed: [], kept: [] });
});

const runtimes: readonly (readonly [string, string, string, readonly [string, string]])[] = [
  [
    'a K3s without flannel',
    '/var/lib/rancher/k3s/agent/etc/containerd/config.toml',
    'version = 2\n',
    ['/opt/cni/bin', '/etc/cni/net.d'],
  ],
  [
    'a K3s with flannel',
    '/var/lib/rancher/k3s/agent/etc/containerd/config.toml',
    '[plugins."io.containerd.grpc.v1.cri".cni]\n  bin_dir = "/var/lib/rancher/k3s/data/cni"\n  conf_dir = "/var/lib/rancher/k3s/agent/etc/cni/net.d"\n',
    ['/var/lib/rancher/k3s/data/cni', '/var/lib/rancher/k3s/agent/etc/cni/net.d'],
  ],
  [
    'a containerd 2 with a list',
    '/etc/containerd/config.toml',
    "[plugins.'io.containerd.cri.v1.runtime'.cni]\n  bin_dirs = ['/usr/lib/cni', '/opt/cni/bin']\n  conf_dir = '/etc/cni/net.d'\n",
    ['/usr/lib/cni', '/etc/cni/net.d'],
  ],
  [
    'a containerd that says nothing',
    '/etc/containerd/config.toml',
    '# bin_dir = "/nowhere"\n',
    ['/opt/cni/bin', '/etc/cni/net.d'],
  ],
];
for (const [what, file, text, [bin, configurations]] of runtimes)
  test(`the folders of ${what} are found`, (t) => {
    const { root, put } = host(t);
    put(file, text);
    const places = findPlaces(root);
    assert.deepEqual([places.bin, places.configurations], [bin, configurations]);
  });

test('the example configuration is what is installed, and every field of it is understood', () => {
  const example = readFileSync(join(repositoryRoot, 'config', 'weft.conflist'), 'utf8');
  assert.equal(example, conflistText('/run/weft'));
  assert.ok(namesWeft(example));
  const { plugins, name } = JSON.parse(example) as { plugins: readonly object[]; name: string };
  const found = readConfiguration(JSON.stringify({ cniVersion: '1.1.0', name, ...plugins[0] }), 'ADD');
  assert.equal(found.name, 'weft');
});

test('`weft install` does it from the command line and says what it did', (t) => {
  const { root, put } = host(t);
  put('/etc/cni/net.d/10-flannel.conflist', '{}');
  const first = weft(['install', '--host-root', root, '--run-dir', '/run/elsewhere']);
  assert.equal(first.status, 0, first.stderr);
  assert.match(first.stdout, /\/opt\/cni\/bin\/weft-cni +written/);
  assert.match(first.stdout, /Not used any more by the runtime: \/etc\/cni\/net\.d\/10-flannel\.conflist/);
  const second = weft(['install', '--host-root', root, '--run-dir', '/run/elsewhere', '-o', 'json']);
  assert.deepEqual(
    states((JSON.parse(second.stdout) as { files: { what: string }[] }).files),
    Array(3).fill('unchanged'),
  );
});
