/** The command line's session with a lab: started or found, progress on standard error, manifests applied, a sentence for every problem. */
import { WeftError } from '../../errors/problem.js';
import { LabClient, type Launched, launch } from '../../lab/launch.js';
import type { AppliedAnswer, LabOptions, SentObject } from '../../lab/protocol.js';
import { formatChanges } from './report.js';

export interface Session {
  readonly client: LabClient;
  readonly launched: Launched;
}

/** Steps of a command, told on standard error: overwritten on a terminal, one line each elsewhere. */
export class Progress {
  readonly #terminal = process.stderr.isTTY === true;
  readonly #started = performance.now();
  #open = false;

  step(text: string): void {
    const seconds = ((performance.now() - this.#started) / 1000).toFixed(1).padStart(5);
    this.#clear();
    process.stderr.write(this.#terminal ? `${seconds} s  ${text} …` : `${seconds} s  ${text}\n`);
    this.#open = this.#terminal;
  }

  done(): void {
    this.#clear();
  }

  #clear(): void {
    if (this.#open) process.stderr.write('\r\u001b[2K');
    this.#open = false;
  }
}

/** A lab with these objects, ready: every pod is enforced. Where that fails nothing is left. */
export async function startLab(
  options: LabOptions,
  objects: readonly SentObject[],
  progress: Progress,
): Promise<Session> {
  progress.step('making namespaces');
  const launched = await launch(options, (text) => progress.step(text)).finally(() => progress.done());
  try {
    const client = await LabClient.connect(options.name);
    if (objects.length > 0) {
      progress.step('starting pods');
      showApplied(await client.request('apply', { objects }), progress, false);
    }
    return { client, launched };
  } catch (error) {
    const client = await LabClient.connect(options.name).catch(() => null);
    await client?.down();
    launched.letGo();
    throw error;
  }
}

/** Prints what changed; throws where a pod did not come up. */
export function showApplied(answer: AppliedAnswer, progress: Progress, all = true): void {
  progress.done();
  const shown = all ? answer.changes : answer.changes.filter(({ what }) => what === 'skipped');
  process.stderr.write(formatChanges(shown));
  for (const { severity, message } of answer.problems) {
    if (severity === 'warning') process.stderr.write(`warning: ${message}\n`);
  }
  const errors = answer.problems.filter(({ severity }) => severity === 'error');
  if (errors.length > 0) throw new WeftError('lab-apply', errors.map(({ message }) => message).join('\n'));
}

/** A connection for one piece of work; an open one would keep the command from ending. */
export async function withLab<T>(name: string, work: (client: LabClient) => Promise<T>): Promise<T> {
  const client = await LabClient.connect(name);
  try {
    return await work(client);
  } finally {
    client.close();
  }
}
