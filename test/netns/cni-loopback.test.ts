/** The plugin `loopback` in namespaces of its own. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { createNamespace, removeNamespace } from '../../src/lab/engine.js';
import { runPlugin } from '../support/cni.js';

let folder: string;
let netns: string;

before(() => {
  folder = mkdtempSync(join(tmpdir(), 'weft-loopback-'));
  netns = join(folder, 'netns');
  createNamespace(netns);
});
after(() => {
  removeNamespace(netns);
  rmSync(folder, { recursive: true, force: true });
});

const call = (command: string, configuration: object = {}, change: Readonly<Record<string, string>> = {}) =>
  runPlugin(
    'loopback',
    {
      CNI_COMMAND: command,
      CNI_CONTAINERID: 'c',
      CNI_IFNAME: 'lo',
      CNI_NETNS: netns,
      CNI_PATH: '/nowhere',
      ...change,
    },
    { cniVersion: '0.3.1', name: 'cni-loopback', type: 'loopback', ...configuration },
  );
const isUp = () =>
  /[<,]UP[,>]/.test(
    execFileSync('nsenter', [`--net=${netns}`, 'ip', 'link', 'show', 'lo'], { encoding: 'utf8' }),
  );

test('ADD brings the interface up and tells it in every version; DEL takes it down, again and without a namespace', async () => {
  for (const cniVersion of ['0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0']) {
    const added = await call('ADD', { cniVersion });
    assert.equal(added.status, 0, added.stdout);
    assert.equal(isUp(), true);
    const version = (family: string) => (cniVersion.startsWith('0') ? { version: family } : {});
    assert.deepEqual(added.json, {
      cniVersion,
      interfaces: [{ name: 'lo', mac: '00:00:00:00:00:00', sandbox: netns }],
      ips: [
        { ...version('4'), interface: 0, address: '127.0.0.1/8' },
        { ...version('6'), interface: 0, address: '::1/128' },
      ],
    });
    assert.equal((await call('ADD', { cniVersion })).status, 0, 'again');
    for (let time = 0; time < 2; time++) assert.equal((await call('DEL', { cniVersion })).status, 0);
    assert.equal(isUp(), false);
  }
  for (const path of ['', '/no/such/namespace', '/etc/hostname'])
    assert.equal((await call('DEL', {}, { CNI_NETNS: path })).status, 0, path);
});

test('CHECK wants it up, from 0.4.0 on', async () => {
  assert.equal((await call('CHECK')).json.code, 1);
  const cniVersion = '0.4.0';
  assert.equal((await call('CHECK', { cniVersion })).json.code, 102);
  await call('ADD');
  assert.equal((await call('CHECK', { cniVersion })).status, 0);
});

test('behind another plugin its result is the one before', async () => {
  const prevResult = {
    cniVersion: '1.0.0',
    interfaces: [{ name: 'eth0' }],
    ips: [{ address: '10.0.0.1/8' }],
  };
  assert.deepEqual((await call('ADD', { cniVersion: '1.0.0', prevResult })).json, prevResult);
});

test('mistakes have their codes', async () => {
  for (const [configuration, change, code] of [
    [{ cniVersion: '0.2.0' }, {}, 1],
    [{ name: '' }, {}, 7],
    [{}, { CNI_NETNS: '/no/such/namespace' }, 4],
    [{}, { CNI_NETNS: '/proc/self/ns/mnt' }, 4],
    [{}, { CNI_NETNS: '' }, 4],
    [{}, { CNI_NETNS: '/proc/self/ns/net' }, 4],
  ] as const)
    assert.equal(
      (await call('ADD', configuration, change)).json.code,
      code,
      JSON.stringify([configuration, change]),
    );
  assert.equal(
    (
      await runPlugin(
        'loopback',
        { CNI_COMMAND: 'ADD', CNI_CONTAINERID: 'c', CNI_IFNAME: 'lo', CNI_NETNS: netns },
        '{',
      )
    ).json.code,
    6,
  );
  // Or the host's own loopback would go down.
  assert.equal((await call('DEL', {}, { CNI_NETNS: '/proc/self/ns/net' })).json.code, 4);
  for (const command of ['GC', 'STATUS']) {
    assert.equal((await call(command)).json.code, 1);
    assert.equal((await call(command, { cniVersion: '1.1.0' })).status, 0);
  }
});
