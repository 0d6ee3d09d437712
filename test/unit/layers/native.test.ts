/** Holds the C++ half of the layer table: who includes whom, who sees Node-API, the kernel's headers and the clock. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join, sep } from 'node:path';
import test from 'node:test';
import { repositoryRoot } from '../../support/repository.js';

/** A folder and those of ours that it may include, besides itself. */
const allowed: Readonly<Record<string, readonly string[]>> = {
  base: [],
  generated: [],
  header: ['base', 'generated'],
  packet: ['base', 'generated', 'header'],
  conntrack: ['base', 'generated', 'header', 'packet'],
  policy: ['base', 'generated', 'header', 'packet'],
  service: ['base', 'generated', 'header', 'packet'],
  switch: ['base', 'generated', 'header', 'packet', 'conntrack', 'policy', 'service'],
  // io implements the switch's device and poller interfaces and knows nothing else of it.
  io: ['base', 'generated', 'header', 'packet', 'switch'],
  addon: ['base', 'generated', 'header', 'packet', 'conntrack', 'policy', 'service', 'switch', 'io'],
  // The supervisor shares the wire of the hand-over with io, and nothing else.
  supervise: ['base', 'io'],
  cni: ['base'],
};
const interfacesForIo = ['switch/device.h', 'switch/poller.h'];
const recordForSupervise = 'io/handover_record.h';
const kernelFolders = ['io', 'supervise', 'cni'];

const root = join(repositoryRoot, 'native');
const files = (readdirSync(root, { recursive: true }) as string[]).filter(
  (name) => /\.(cc|h)$/.test(name) && !/^(test|fuzz)\b/.test(name),
);
const includes = (text: string) => [...text.matchAll(/^\s*#\s*include\s*([<"])([^>"]+)[>"]/gm)];
const folderOf = (name: string) => name.split(sep)[0] as string;

test('every folder of native is a layer of the table', () => {
  assert.deepEqual([...new Set(files.map(folderOf))].filter((folder) => !(folder in allowed)).sort(), []);
  assert.ok(files.length > 20, 'the sources were found');
});

test('a folder includes only itself and the layers below it', () => {
  const wrong: string[] = [];
  for (const name of files) {
    const folder = folderOf(name);
    for (const [, kind, target] of includes(readFileSync(join(root, name), 'utf8'))) {
      if (kind !== '"' || target === undefined) continue;
      const other = folderOf(target);
      if (other === folder) continue;
      if (!allowed[folder]?.includes(other)) wrong.push(`${name} includes ${target}`);
      if (folder === 'io' && other === 'switch' && !interfacesForIo.includes(target))
        wrong.push(`${name} includes ${target}`);
      if (folder === 'supervise' && other === 'io' && target !== recordForSupervise)
        wrong.push(`${name} includes ${target}`);
    }
  }
  assert.deepEqual(wrong, []);
});

test('only addon includes Node-API', () => {
  const wrong = files.filter(
    (name) =>
      folderOf(name) !== 'addon' &&
      /#\s*include\s*[<"](napi|node_api|js_native)/.test(readFileSync(join(root, name), 'utf8')),
  );
  assert.deepEqual(wrong, []);
});

test('only io and the static programs include kernel headers', () => {
  const kernel = /^(linux|net|netinet|netpacket|sys|arpa|asm)\//;
  const posix = new Set(['unistd.h', 'fcntl.h', 'sched.h', 'poll.h', 'signal.h']);
  const wrong: string[] = [];
  for (const name of files) {
    if (kernelFolders.includes(folderOf(name))) continue;
    for (const [, kind, target] of includes(readFileSync(join(root, name), 'utf8')))
      if (kind === '<' && target !== undefined && (kernel.test(target) || posix.has(target)))
        wrong.push(`${name} includes <${target}>`);
  }
  assert.deepEqual(wrong, []);
});

test('only a worker reads the clock', () => {
  const wrong = files.filter((name) => {
    const folder = folderOf(name);
    if (kernelFolders.includes(folder) || folder === 'addon' || /^switch\/worker/.test(name)) return false;
    return /\b(clock_gettime|steady_clock::now|system_clock::now|gettimeofday|std::time\s*\()/.test(
      readFileSync(join(root, name), 'utf8'),
    );
  });
  assert.deepEqual(wrong, []);
});
