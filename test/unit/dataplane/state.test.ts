import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { loadFrom } from '../../../src/dataplane/addon.js';
import type { PortSpec } from '../../../src/dataplane/protocol/desired-state.js';
import { emptyState, rememberedEpoch, StateFolder } from '../../../src/dataplane/state.js';
import { WeftError } from '../../../src/errors/problem.js';

const port: PortSpec = {
  id: 'abc',
  namespace: 'web',
  name: 'frontend',
  netns: '/run/netns/x',
  ifname: 'eth0',
  mac: '02:00:00:00:00:01',
  addresses: ['10.42.0.5'],
  mtu: 1500,
  kind: 'pod',
};

function folder(t: { after(end: () => void): void }): string {
  const path = mkdtempSync(join(tmpdir(), 'weft-state-'));
  t.after(() => rmSync(path, { recursive: true }));
  return path;
}

test('what was written is read back, and an empty folder has nothing to say', (t) => {
  const path = folder(t);
  assert.deepEqual(new StateFolder(path).read(), { state: null, image: null, refused: [], leftOut: [] });
  const state = {
    ...emptyState,
    epoch: 4,
    revision: 8,
    starts: 2,
    ports: [port],
    leaving: [port],
    settings: { flowSampling: 3 },
  };
  new StateFolder(path).writeState(state);
  new StateFolder(path).writeImage(new Uint8Array([1, 2, 3]));
  const found = new StateFolder(path).read();
  assert.deepEqual(found.state, state);
  assert.deepEqual(found.image, Buffer.from([1, 2, 3]));
  assert.deepEqual(found.refused, []);
  assert.equal(statSync(join(path, 'switch-state.json')).mode & 0o777, 0o600);
});

test('a file that is damaged, of another version or without a list is refused with a sentence', (t) => {
  const path = folder(t);
  const whole = { version: 1, ...emptyState };
  for (const text of [
    '',
    '{"version":1',
    'null',
    JSON.stringify({ ...whole, version: 2 }),
    JSON.stringify({ ...whole, epoch: -1 }),
    JSON.stringify({ ...whole, leaving: undefined }),
  ]) {
    writeFileSync(join(path, 'switch-state.json'), text);
    const found = new StateFolder(path).read();
    assert.equal(found.state, null, text);
    assert.equal(found.refused.length, 1, text);
    assert.match(found.refused[0] ?? '', /switch-state\.json is damaged or of another version/);
  }
});

test('what a newer version has written and this one does not know is left out and told, and the rest counts', (t) => {
  const path = folder(t);
  const found = (fields: object) => {
    writeFileSync(
      join(path, 'switch-state.json'),
      JSON.stringify({ version: 1, ...emptyState, epoch: 7, ...fields }),
    );
    const { state, refused, leftOut } = new StateFolder(path).read();
    assert.deepEqual(refused, []);
    assert.equal(state?.epoch, 7);
    assert.equal(rememberedEpoch(path), 7);
    return { settings: state.settings, ports: state.ports.map(({ id }) => id), leftOut: leftOut.join('\n') };
  };
  const timeouts = found({
    ports: [port],
    settings: {
      flowSampling: 3,
      answersPerSecond: 'many',
      timeouts: { quic: 9, 'tcp-closing': 'long', 'tcp-established': 5 },
    },
  });
  assert.deepEqual(timeouts.settings, { flowSampling: 3, timeouts: { 'tcp-established': 5 } });
  assert.deepEqual(timeouts.ports, ['abc']);
  assert.match(
    timeouts.leftOut,
    /answersPerSecond .*\n.*timeouts\.quic is none of .*\n.*timeouts\.tcp-closing/,
  );
  const ports = found({ ports: [{ ...port, id: 'new', kind: 'tunnel' }, port], settings: [] });
  assert.deepEqual([ports.ports, ports.settings], [['abc'], {}]);
  assert.match(ports.leftOut, /ports\[0\]\.kind/);
});

test('an addon that cannot be loaded is explained: what was tried, what each said, what to do', (t) => {
  const broken = join(folder(t), 'weft.node');
  writeFileSync(broken, 'not a library');
  assert.throws(
    () => loadFrom(['/nowhere/weft.node', broken]),
    (error) => {
      assert.ok(error instanceof WeftError);
      assert.equal(error.code, 'addon-load');
      assert.match(error.message, /\/nowhere\/weft\.node: not there/);
      assert.match(error.message, /weft-state-\w+\/weft\.node: .*(invalid ELF header|file too short)/);
      assert.match(error.message, /npm run build:native/);
      return true;
    },
  );
});
