/**
 * Container images made here, without a registry: archives in the format of `docker save` that `ctr images import` reads. The only program in
 * them is pod-program.c, compiled statically, so that an image is one file.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { repositoryRoot } from './repository.js';

export const podProgram = '/pod';
export const pauseImage = 'weft.test/pause:1';
export const podImage = 'weft.test/pod:1';

/** Compiles the program if it is not there or older than its source; its path. */
export function buildPodProgram(): string {
  const source = join(repositoryRoot, 'test', 'support', 'pod-program.c');
  const program = join(repositoryRoot, 'build', 'test-programs', 'pod');
  if (existsSync(program) && statSync(program).mtimeMs > statSync(source).mtimeMs) return program;
  mkdirSync(dirname(program), { recursive: true });
  execFileSync(
    'cc',
    ['-std=gnu17', '-Wall', '-Wextra', '-Werror', '-O2', '-static', '-s', source, '-o', program],
    {
      stdio: ['ignore', 'ignore', 'inherit'],
    },
  );
  return program;
}

export interface ImageWish {
  readonly tag: string;
  readonly command: readonly string[];
  /** Path in the image → file here. */
  readonly files: Readonly<Record<string, string>>;
}

/** Writes the archive. */
export function writeImage(wish: ImageWish, archive: string): void {
  const scratch = mkdtempSync(join(tmpdir(), 'weft-image-'));
  try {
    const root = join(scratch, 'root');
    mkdirSync(join(root, 'tmp'), { recursive: true });
    for (const [path, file] of Object.entries(wish.files)) {
      mkdirSync(dirname(join(root, path)), { recursive: true });
      writeFileSync(join(root, path), readFileSync(file), { mode: 0o755 });
    }
    const pack = (folder: string, to: string, ...names: string[]) =>
      execFileSync('tar', [
        ...['--directory', folder, '--owner=0', '--group=0', '--numeric-owner', '--mtime=@0', '--sort=name'],
        ...['--create', '--file', to, ...names],
      ]);
    const layer = join(scratch, 'layer.tar');
    pack(root, layer, '.');
    const digest = createHash('sha256').update(readFileSync(layer)).digest('hex');
    const architecture = process.arch === 'x64' ? 'amd64' : process.arch;
    writeFileSync(
      join(scratch, 'config.json'),
      JSON.stringify({
        architecture,
        os: 'linux',
        config: { Env: ['PATH=/bin:/sbin:/usr/bin:/usr/sbin'], Entrypoint: wish.command },
        rootfs: { type: 'layers', diff_ids: [`sha256:${digest}`] },
        history: [{}],
      }),
    );
    writeFileSync(
      join(scratch, 'manifest.json'),
      JSON.stringify([{ Config: 'config.json', RepoTags: [wish.tag], Layers: ['layer.tar'] }]),
    );
    pack(scratch, archive, 'manifest.json', 'config.json', 'layer.tar');
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}
