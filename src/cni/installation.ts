/**
 * What weft puts on a host for its container runtime, and takes away again: the programs first, the configuration last, because from the moment
 * that it is there the runtime calls the programs. Each file is written beside its place, synced, and renamed into it, so that whoever
 * looks finds the old one or the new one; a program that runs goes on with the old one.
 *
 * What was written is recorded in one file on the host, by path and digest. A file that is in the way and that weft did not write is
 * never touched without being told to: `loopback` of another make serves as well and stays, anything else stops the installation.
 */
import { createHash, randomBytes } from 'node:crypto';
import {
  chmodSync,
  closeSync,
  existsSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { WeftError } from '../errors/problem.js';
import { conflistName, conflistText, namesWeft, pluginName } from './conflist.js';

/** Where the programs are that come with this file: beside its `dist`, in a checkout, an installed package and an image. */
export const builtPrograms = join(
  dirname(fileURLToPath(import.meta.url)),
  ...['..', '..', '..', 'build', 'bin'],
);

/** The record; it survives a reboot, unlike the run directory. */
export const recordPath = '/var/lib/weft/installed.json';

/** Both our programs have it in them (native/cni/failure.cc), and no other: it makes them known where the record was lost. */
const programMark = Buffer.from('weft CNI program');

export interface InstallOptions {
  /** Where the host's file system is; `/` on the host itself. All other paths are the host's. */
  readonly root: string;
  readonly bin: string;
  readonly configurations: string;
  readonly runDir: string;
  /** Folder of the programs `weft-cni` and `loopback`. */
  readonly programs: string;
  /** Overwrites files of others. */
  readonly force: boolean;
}

export type Written = 'written' | 'unchanged' | 'kept';

export interface InstalledFile {
  /** As the host sees it. */
  readonly path: string;
  /** `kept`: there is one of another make, which serves. */
  readonly what: Written;
}

export interface Installed {
  readonly files: readonly InstalledFile[];
  /** Configurations of other networks in the folder. */
  readonly others: readonly string[];
  /** That of them which the runtime takes before ours; null: ours comes first. */
  readonly shadowedBy: string | null;
}

interface Entry {
  readonly path: string;
  readonly sha256: string;
}

/** Puts everything in its place; what is there already is left. Throws `install-foreign`, `install-write` and `install-programs`. */
export function install(options: InstallOptions): Installed {
  const { root, bin, configurations } = options;
  const recorded = readRecord(root);
  const wanted = [
    { path: join(bin, pluginName), content: program(options, pluginName), mode: 0o755 },
    { path: join(bin, 'loopback'), content: program(options, 'loopback'), mode: 0o755 },
    {
      path: join(configurations, conflistName),
      content: Buffer.from(conflistText(options.runDir)),
      mode: 0o644,
    },
  ];
  // Every objection before the first change.
  const plan = wanted.map((file) => ({ ...file, found: judge(options, file.path, file.content, recorded) }));
  const foreign = plan.find(({ found, path }) => found === 'foreign' && basename(path) !== 'loopback');
  if (foreign !== undefined && !options.force)
    throw new WeftError(
      'install-foreign',
      `${foreign.path} is there and weft did not write it. Move it away, or overwrite it with --force.`,
    );
  const ours = plan.filter(({ found }) => found !== 'foreign' || options.force);
  // Before the files: a record of what is not there yet does no harm, a file that nobody knows of stays for ever.
  const entries = new Map(recorded.map((entry) => [entry.path, entry]));
  for (const { path, content } of ours) entries.set(path, { path, sha256: digest(content) });
  const record = Buffer.from(`${JSON.stringify({ files: [...entries.values()] }, null, 2)}\n`);
  if (!read(join(root, recordPath))?.equals(record)) replace(join(root, recordPath), record, 0o600);
  const files = plan.map(({ path, content, mode, found }): InstalledFile => {
    if (found === 'foreign' && !options.force) return { path, what: 'kept' };
    if (found === 'same') return { path, what: 'unchanged' };
    replace(join(root, path), content, mode);
    return { path, what: 'written' };
  });
  return { files, ...neighbours(root, configurations) };
}

/** Whether one of the files is not there, whatever is in the others. Throws `install-write`. */
export function lacksFiles({
  root,
  bin,
  configurations,
}: Pick<InstallOptions, 'root' | 'bin' | 'configurations'>): boolean {
  const places = [
    join(bin, pluginName),
    join(bin, 'loopback'),
    join(configurations, conflistName),
    recordPath,
  ];
  return places.some((path) => !existsSync(join(root, path)));
}

/** Configuration first, then programs and record; only what is as weft wrote it. Idempotent. Paths that were removed, and that stayed. */
export function uninstall(root: string): {
  readonly removed: readonly string[];
  readonly kept: readonly string[];
} {
  const removed: string[] = [];
  const kept: string[] = [];
  const recorded = [...readRecord(root)].sort((a, b) => rank(a.path) - rank(b.path));
  for (const { path, sha256 } of recorded) {
    const there = read(join(root, path));
    if (there === null) continue;
    // An administrator's changes to the configuration do not make it another's: it names a plugin that goes.
    const mine = digest(there) === sha256 || isOurs(path, there);
    if (mine) rmSync(join(root, path), { force: true });
    (mine ? removed : kept).push(path);
  }
  rmSync(join(root, recordPath), { force: true });
  return { removed, kept };
}

const rank = (path: string) => (isConfiguration(path) ? 0 : 1);
const isConfiguration = (path: string) => /\.(conf|conflist|json)$/.test(path);
const digest = (content: Buffer) => createHash('sha256').update(content).digest('hex');

function isOurs(path: string, content: Buffer): boolean {
  return isConfiguration(path) ? namesWeft(content.toString('utf8')) : content.includes(programMark);
}

function judge(
  { root }: InstallOptions,
  path: string,
  content: Buffer,
  recorded: readonly Entry[],
): 'absent' | 'same' | 'ours' | 'foreign' {
  const place = join(root, path);
  const there = read(place);
  if (there === null) return 'absent';
  const link = lstatSync(place).isSymbolicLink();
  if (!link && there.equals(content) && (isConfiguration(path) || (lstatSync(place).mode & 0o111) !== 0))
    return 'same';
  const known = recorded.some((entry) => entry.path === path && entry.sha256 === digest(there));
  return !link && (known || isOurs(path, there)) ? 'ours' : 'foreign';
}

function neighbours(root: string, configurations: string): Pick<Installed, 'others' | 'shadowedBy'> {
  const names = readdirSync(join(root, configurations)).filter(
    (name) => isConfiguration(name) && name !== conflistName,
  );
  const others = names.sort().map((name) => join(configurations, name));
  const before = names.find((name) => name < conflistName);
  return { others, shadowedBy: before === undefined ? null : join(configurations, before) };
}

function program({ programs }: InstallOptions, name: string): Buffer {
  const path = join(programs, name);
  const content = read(path);
  if (content === null)
    throw new WeftError(
      'install-programs',
      `The program ${path} is not there. Build it (\`npm run build\`), or name its folder with --programs.`,
    );
  return content;
}

function readRecord(root: string): readonly Entry[] {
  const content = read(join(root, recordPath));
  if (content === null) return [];
  try {
    const { files } = JSON.parse(content.toString('utf8')) as { files?: unknown };
    if (!Array.isArray(files)) return [];
    return files.filter(
      (entry): entry is Entry =>
        typeof entry?.path === 'string' && typeof entry.sha256 === 'string' && entry.path.startsWith('/'),
    );
  } catch {
    // Damaged, it is as if there were none: files are known by their content too.
    return [];
  }
}

/** null: there is no such file. A folder or a file that cannot be read is told. */
function read(path: string): Buffer | null {
  try {
    return readFileSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw refusal(path, error);
  }
}

/** Written beside, synced, renamed, and the rename synced. */
function replace(path: string, content: Buffer, mode: number): void {
  const folder = dirname(path);
  // Runtimes read names that end in .conf, .conflist and .json: this one ends otherwise.
  const draft = join(folder, `.${basename(path)}.${randomBytes(6).toString('hex')}.weft`);
  try {
    mkdirSync(folder, { recursive: true, mode: 0o755 });
    const file = openSync(draft, 'wx', mode);
    try {
      for (let place = 0; place < content.length; ) place += writeSync(file, content, place);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    // Whatever the umask was.
    chmodSync(draft, mode);
    renameSync(draft, path);
    const parent = openSync(folder, 'r');
    try {
      fsyncSync(parent);
    } finally {
      closeSync(parent);
    }
  } catch (error) {
    rmSync(draft, { force: true });
    throw refusal(path, error);
  }
}

function refusal(path: string, error: unknown): WeftError {
  const { code, syscall } = error as NodeJS.ErrnoException;
  return new WeftError(
    'install-write',
    `${path} cannot be read or written (${syscall ?? 'failed'}: ${code ?? (error as Error).message}). Run as root; on a read-only system name other folders with --cni-bin-dir and --cni-conf-dir.`,
    { cause: error },
  );
}
