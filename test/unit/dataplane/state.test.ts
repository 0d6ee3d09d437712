import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { loadFrom } from '../../../src/dataplane/addon.js';
import type { PortSpec } from '../../../src/dataplane/protocol/desired-state.js';
import { emptyState, StateFolder } from '../../../src/dataplane/state.js';
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
  assert.deepEqual(new StateFolder(path).read(), { state: null, image: null, refused: [] });
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

test('a file that is damaged, of another version or with a port or setting that is none is refused with a sentence', (t) => {
  const path = folder(t);
  const whole = { version: 1, ...emptyState };
  for (const text of [
    '',
    '{"version":1',
    'null',
    JSON.stringify({ ...whole, version: 2 }),
    JSON.stringify({ ...whole, epoch: -1 }),
    JSON.stringify({ ...whole, ports: [{ ...port, mac: 'none' }] }),
    JSON.stringify({ ...whole, leaving: undefined }),
    JSON.stringify({ ...whole, settings: { timeouts: { udp: 'long' } } }),
  ]) {
    writeFileSync(join(path, 'switch-state.json'), text);
    const found = new StateFolder(path).read();
    assert.equal(found.state, null, text);
    assert.equal(found.refused.length, 1, text);
    assert.match(found.refused[0] ?? '', /switch-state\.json is damaged or of another version/);
  }
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
