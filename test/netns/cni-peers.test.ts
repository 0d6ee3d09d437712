/**
 * The reference plugins of the CNI project (Debian's containernetworking-plugins) as a second opinion: they read our results in a chain, we read
 * theirs, and our loopback says what theirs says.
 */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { type CniOutput, type Outcome, runPlugin } from '../support/cni.js';
import { CniNode } from '../support/cni-node.js';

const folder = '/usr/lib/cni';
const skip = existsSync(`${folder}/tuning`)
  ? false
  : 'the reference plugins are not installed (deploy/setup.sh --for ci)';
/** What the reference plugins of that package speak; 1.1.0 is newer. */
const versions = ['0.3.0', '0.3.1', '0.4.0', '1.0.0'];
let cni: CniNode;

before(async () => {
  if (skip !== false) return;
  cni = await CniNode.start();
  await cni.pods({ web: {} });
});
after(() => cni?.end());

function peer(
  name: string,
  command: string,
  cniVersion: string,
  prevResult?: object,
  ifname = 'eth0',
): Promise<Outcome> {
  return runPlugin(
    `${folder}/${name}` as `/${string}`,
    {
      CNI_COMMAND: command,
      CNI_CONTAINERID: 'container-web',
      CNI_IFNAME: ifname,
      CNI_NETNS: cni.netns('web'),
      CNI_PATH: folder,
      PATH: process.env.PATH ?? '',
    },
    { cniVersion, name: 'weft', type: name, ...(prevResult === undefined ? {} : { prevResult }) },
  );
}

/** Without what makes no difference: empty members and the order of members. */
function plain(result: CniOutput): unknown {
  const sorted = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(sorted);
    if (typeof value !== 'object' || value === null) return value;
    const members = Object.entries(value)
      .filter(([, member]) => JSON.stringify(member) !== '{}' && JSON.stringify(member) !== '[]')
      .sort(([one], [other]) => (one < other ? -1 : 1));
    return Object.fromEntries(members.map(([name, member]) => [name, sorted(member)]));
  };
  return sorted(result);
}

for (const cniVersion of versions)
  test(`in ${cniVersion} a reference plugin behind ours takes our result and hands it on as it is`, {
    skip,
  }, async () => {
    const version = { cniVersion };
    const ours = await cni.add('web', { configuration: version });
    const tuned = await peer('tuning', 'ADD', cniVersion, ours);
    assert.equal(tuned.status, 0, tuned.stdout);
    assert.deepEqual(plain(tuned.json), plain(ours));
    if (cniVersion >= '0.4.0') {
      assert.equal((await peer('tuning', 'CHECK', cniVersion, ours)).status, 0);
      const checked = await cni.call('CHECK', 'web', {
        configuration: { ...version, prevResult: tuned.json },
      });
      assert.equal(checked.status, 0, checked.stdout);
    }
    assert.equal((await peer('tuning', 'DEL', cniVersion, tuned.json)).status, 0);
    const deleted = await cni.call('DEL', 'web', { configuration: { ...version, prevResult: tuned.json } });
    assert.equal(deleted.status, 0);
  });

for (const cniVersion of versions)
  test(`in ${cniVersion} ours behind a reference plugin takes its result, and it takes the one of both`, {
    skip,
  }, async () => {
    const version = { cniVersion };
    const theirs = await peer('loopback', 'ADD', cniVersion, undefined, 'lo');
    assert.equal(theirs.status, 0, theirs.stdout);
    const both = await cni.add('web', { configuration: { ...version, prevResult: theirs.json } });
    assert.deepEqual(
      both.interfaces?.map(({ name }) => name),
      ['lo', 'eth0'],
    );
    const tuned = await peer('tuning', 'ADD', cniVersion, both);
    assert.equal(tuned.status, 0, tuned.stdout);
    assert.deepEqual(plain(tuned.json), plain(both));
    await cni.call('DEL', 'web', { configuration: { ...version, prevResult: both } });
  });

for (const cniVersion of versions)
  test(`in ${cniVersion} our loopback answers what the reference one does`, { skip }, async () => {
    const environment = {
      CNI_COMMAND: 'ADD',
      CNI_CONTAINERID: 'c',
      CNI_IFNAME: 'lo',
      CNI_NETNS: cni.netns('web'),
      CNI_PATH: folder,
    };
    const configuration = { cniVersion, name: 'cni-loopback', type: 'loopback' };
    const [theirs, ours] = [
      await runPlugin(`${folder}/loopback`, environment, configuration),
      await runPlugin('loopback', environment, configuration),
    ];
    assert.deepEqual([theirs.status, ours.status], [0, 0]);
    // The reference leaves out `ips[].version`, which its specification wants before 1.0.0.
    const text = ours.stdout.replaceAll(/"version":"[46]",/g, '');
    assert.deepEqual(plain(JSON.parse(text) as CniOutput), plain(theirs.json));
  });
