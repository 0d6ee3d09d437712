import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { imageCompiler } from '../../../src/agent/compile-image.js';
import { defaultConfig, overrideConfig } from '../../../src/config/parse.js';
import type { WeftError } from '../../../src/errors/problem.js';
import { compile } from '../../../src/image/compile.js';
import { fixture, podManifest, policyManifest } from '../../support/agent-fixture.js';

const web = { namespace: 'shop', name: 'web', uid: '', netns: '/run/netns/web', ifname: 'eth0' };

test('what the agent publishes is the image of its world: after many changes the same bytes as from nothing', async (t) => {
  const f = fixture(t);
  const double = await f.startSwitch();
  const running = await f.startAgent({}, imageCompiler());
  const client = await f.client();
  f.write('web.yaml', podManifest('shop', 'web'));
  await client.request('attach', web);
  for (let i = 0; i < 8; i++) {
    f.write(`p${i % 3}.yaml`, podManifest('shop', `other${i}`) + policyManifest('shop', `deny${i}`));
    if (i === 5) f.remove('p1.yaml');
    await client.request('sync', {});
  }
  const published = readFileSync(double.last!.image!);
  const fresh = compile(running.agent.state.world, { node: 'here' });
  assert.deepEqual(published, Buffer.from(fresh.image));
  assert.equal(fresh.stats.localPods, 1);
  assert.ok(fresh.stats.policiesInForce >= 1);
});

test('policy options are part of the image', async (t) => {
  const f = fixture(t);
  const running = await f.startAgent({}, imageCompiler());
  const request = { world: running.agent.state.world, node: 'here', localPods: new Set<string>() };
  const config = defaultConfig();
  const compileImage = imageCompiler();
  const bytes = (overrides: Parameters<typeof overrideConfig>[1]) => {
    const { policy, limits } = overrideConfig(config, overrides);
    return Buffer.from(compileImage({ ...request, policy, limits }).bytes).toString('base64');
  };
  const images = new Set([
    bytes({}),
    bytes({ policy: { ownNodeEgress: 'judge' } }),
    bytes({ policy: { denyAction: { egress: 'reject' } } }),
    bytes({ policy: { denyAction: { ingress: 'reject' } } }),
  ]);
  assert.equal(images.size, 4);
  assert.ok(images.has(bytes({})), 'and back to the same bytes');
});

test('over a limit there is no new image, and the message names the limit; below it again there is', async (t) => {
  const f = fixture(t);
  const running = await f.startAgent({}, imageCompiler());
  const compileImage = imageCompiler();
  const { policy } = defaultConfig();
  const request = { world: running.agent.state.world, node: 'here', localPods: new Set<string>(), policy };
  const limits = { ...defaultConfig().limits, classes: 0 };
  assert.throws(
    () => compileImage({ ...request, limits }),
    (error: WeftError) => error.code === 'limit-exceeded' && error.message.includes('limits.classes is 0'),
  );
  assert.ok(compileImage({ ...request, limits: defaultConfig().limits }).bytes.byteLength > 0);
});
