/**
 * The processes of a node, as a real one has them: `weft switch` under `weft-supervise`, and `weft agent`. The supervisor restarts
 * the switch; the agent is restarted here, as a DaemonSet's would be. Both log to files in the lab's folder.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';
import { packageRoot } from '../dataplane/package-root.js';
import { WeftError } from '../errors/problem.js';

export interface NodeOptions {
  /** The configuration of switch and agent, as in config/default.yaml. */
  readonly config: Readonly<Record<string, unknown>>;
  readonly runDirectory: string;
  /** Where configuration and logs are written. */
  readonly folder: string;
}

/** A process that dies this often within one lab is broken, and starting it again hides that. */
const mostRestarts = 20;
const restartPause = 100; // milliseconds

export class NodeProcesses {
  readonly #options: NodeOptions;
  readonly #configFile: string;
  readonly #started = new Map<string, ChildProcess>();
  #restarts = 0;
  #failed: (error: Error) => void = () => {};
  /** Rejects when a process is beyond help. */
  readonly failure: Promise<never>;

  constructor(options: NodeOptions) {
    this.#options = options;
    this.#configFile = join(options.folder, 'config.yaml');
    this.failure = new Promise((_, reject) => {
      this.#failed = reject;
    });
    this.failure.catch(() => {});
  }

  get agentRestarts(): number {
    return this.#restarts;
  }

  start(): void {
    const { config } = this.#options;
    writeFileSync(this.#configFile, stringify(config));
    const supervisor = join(packageRoot(), 'build', 'bin', 'weft-supervise');
    if (!existsSync(supervisor))
      throw new WeftError('lab-not-built', `${supervisor} is missing. Build it with \`npm run build\`.`);
    const settings = ['--config', this.#configFile];
    const node = [...nodeFlags(), ...commandLine()];
    this.#run('switch', supervisor, ['--', process.execPath, ...node, 'switch', ...settings]);
    this.#run('agent', process.execPath, [...node, 'agent', ...settings]);
  }

  /** The last lines of a process's log, for an error message. */
  lastWords(name: 'switch' | 'agent'): string {
    try {
      return readFileSync(join(this.#options.folder, `${name}.log`), 'utf8')
        .trim()
        .split('\n')
        .slice(-8)
        .join('\n');
    } catch {
      return '';
    }
  }

  #run(name: 'switch' | 'agent', program: string, args: readonly string[]): void {
    const log = openSync(join(this.#options.folder, `${name}.log`), 'a');
    const child = spawn(program, args, { stdio: ['ignore', log, log] });
    this.#started.set(name, child);
    child.once('error', (error) => this.#failed(error));
    child.once('exit', (status, signal) => {
      const how = signal === null ? `with status ${status}` : `by ${signal}`;
      this.#restarts++;
      if (name === 'switch' || this.#restarts > mostRestarts || status === 2) {
        const words = this.lastWords(name);
        this.#failed(
          new WeftError('lab-process', `The lab's ${name} ended ${how}. Its last words:\n${words}`),
        );
        return;
      }
      setTimeout(() => this.#run(name, program, args), restartPause);
    });
  }
}

/** What starts `weft` again with the Node.js that runs now; the file is beside this one whoever imported it. */
export function commandLine(): string[] {
  const entry = fileURLToPath(new URL('../cli/main.js', import.meta.url));
  return [...process.execArgv.filter((flag) => !flag.startsWith('--test')), entry];
}

/** What Node.js is given for the switch and the agent; deploy/weft.sh reads the same file. */
export function nodeFlags(): string[] {
  const lines = readFileSync(join(packageRoot(), 'deploy', 'node-flags'), 'utf8').split('\n');
  return lines.filter((line) => line.startsWith('--'));
}
