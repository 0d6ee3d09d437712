/**
 * A file of JSON lines that grows by one with every change, in the run directory. No fsync: that is a tmpfs, which a reboot empties
 * together with the pods; what a lost process has written is in the page cache all the same. A last line that is torn belongs to a
 * request that was never answered, and is dropped.
 *
 * One process at a time; not for concurrent writers (the agent's socket is its lock).
 */
import { appendFileSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

type Fields = Readonly<Record<string, unknown>>;

export class Journal<Line extends object> {
  readonly file: string;
  #length = 0;
  /** The last line could not be written to its end, as on a disk that is full. */
  #cut = false;

  constructor(file: string) {
    this.file = file;
    mkdirSync(dirname(file), { recursive: true });
  }

  /** Lines. */
  get length(): number {
    return this.#length;
  }

  /** Whether somebody has removed the file, so that it has to be rewritten before anything is appended. */
  get lost(): boolean {
    return this.#length > 0 && !existsSync(this.file);
  }

  /** Hands over every line; what `take` finds wrong with one, and one that is no object, goes to `report` with its number. */
  replay(take: (fields: Fields) => string | null, report: (line: number, problem: string) => void): void {
    let text: string;
    try {
      text = readFileSync(this.file, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
      throw error;
    }
    const lines = text.split('\n');
    const torn = lines.pop() ?? '';
    for (const [index, line] of lines.entries()) {
      if (line === '') continue;
      const fields = fieldsOf(line);
      const problem = typeof fields === 'string' ? fields : take(fields);
      if (problem !== null) report(index + 1, problem);
    }
    this.#length = lines.length;
    // Cut the torn end off, or the next line would be glued to it.
    if (torn !== '') this.#replace(lines);
  }

  /** Throws what the file system says; the line is then as if it had not been written. */
  append(line: Line): void {
    // What is left of a line that was cut off must not take this one with it.
    const start = this.#cut ? '\n' : '';
    this.#cut = true;
    appendFileSync(this.file, `${start}${JSON.stringify(line)}\n`, { mode: 0o600 });
    this.#cut = false;
    this.#length++;
  }

  /** These lines in place of all. Throws what the file system says; then the former ones stay. */
  rewrite(lines: readonly Line[]): void {
    this.#replace(lines.map((line) => JSON.stringify(line)));
    this.#length = lines.length;
    this.#cut = false;
  }

  #replace(lines: readonly string[]): void {
    mkdirSync(dirname(this.file), { recursive: true });
    writeFileSync(`${this.file}.new`, lines.map((line) => `${line}\n`).join(''), { mode: 0o600 });
    renameSync(`${this.file}.new`, this.file);
  }
}

/** Or what is wrong with the line. */
function fieldsOf(line: string): Fields | string {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null ? (value as Fields) : 'no object';
  } catch {
    return 'no JSON';
  }
}
