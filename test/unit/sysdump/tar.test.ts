import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { joinTars, tar } from '../../../src/cli/sysdump/tar.js';

const long = `${'folder/'.repeat(20)}file-with-a-name`;

test("the system's tar and Python's read what we write: names short and long, contents of every length", (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'weft-tar-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const contents = [0, 1, 511, 512, 513, 100_000].map((length) => Buffer.alloc(length, `${length}|`));
  const files = contents.map((content, index) => ({
    name: `a/${index}.txt`,
    content,
    modified: 1_700_000_000,
  }));
  files.push({ name: long, content: Buffer.from('ä'), modified: 1_700_000_000.7 });
  const archive = tar(files);
  assert.equal(archive.length % 512, 0);
  const read = spawnSync('tar', ['-x', '-C', folder], { input: archive });
  assert.equal(read.status, 0, String(read.stderr));
  for (const { name, content } of files)
    assert.ok(readFileSync(join(folder, name)).equals(Buffer.from(content)), name);
  assert.equal(statSync(join(folder, long)).mtimeMs, 1_700_000_000_000);
  const python = spawnSync(
    'python3',
    [
      '-c',
      'import sys, tarfile, io; print("\\n".join(m.name + " " + str(m.size) + " " + oct(m.mode) for m in tarfile.open(fileobj=io.BytesIO(sys.stdin.buffer.read()))))',
    ],
    { input: archive, encoding: 'utf8' },
  );
  assert.deepEqual(
    python.stdout.trim().split('\n'),
    files.map(({ name, content }) => `${name} ${content.length} 0o600`),
  );
});

test('a name that ustar cannot hold is refused, not cut', () => {
  const file = { content: Buffer.alloc(0), modified: 0 };
  assert.throws(() => tar([{ ...file, name: 'x'.repeat(101) }]), RangeError);
  assert.throws(() => tar([{ ...file, name: `${'x'.repeat(156)}/y` }]), RangeError);
  assert.throws(() => tar([{ ...file, name: `a/${'ä'.repeat(51)}` }]), RangeError);
  assert.equal(tar([]).length, 1024);
});

test('several archives become one that is read whole', () => {
  const file = (name: string) => tar([{ name, content: Buffer.from(name), modified: 0 }]);
  const read = spawnSync('tar', ['-t'], {
    input: joinTars([file('a/1'), file('b/1'), tar([])]),
    encoding: 'utf8',
  });
  assert.deepEqual([read.status, read.stdout], [0, 'a/1\nb/1\n']);
});
