/** Runs a program of the host's tools (nft, conntrack, iptables), bounded in time, with what it needs on standard input. */
import { spawn } from 'node:child_process';

export interface Outcome {
  /** null: it could not be started, or was ended by us. */
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** There is no such program. */
  readonly missing: boolean;
}

/** `input` is written to standard input. Never rejects; an outcome that is not status 0 is a failure. */
export type Run = (command: string, args: readonly string[], input?: string) => Promise<Outcome>;

/** Milliseconds. None of these programs waits for anything but the kernel. */
const patience = 10_000;
const mostOutput = 16 << 20;

export const runCommand: Run = (command, args, input = '') =>
  new Promise((resolve) => {
    const child = spawn(command, [...args], { stdio: ['pipe', 'pipe', 'pipe'] });
    const output = { stdout: '', stderr: '' };
    const timer = setTimeout(() => {
      output.stderr += `${command} did not end in ${patience / 1000} s`;
      child.kill('SIGKILL');
    }, patience);
    for (const name of ['stdout', 'stderr'] as const) {
      child[name].setEncoding('utf8').on('data', (text: string) => {
        if (output[name].length < mostOutput) output[name] += text;
      });
    }
    child.on('error', (error: NodeJS.ErrnoException) => {
      clearTimeout(timer);
      resolve({ status: null, stdout: '', stderr: error.message, missing: error.code === 'ENOENT' });
    });
    child.on('close', (status) => {
      clearTimeout(timer);
      resolve({ status, ...output, missing: false });
    });
    // It may end without having read everything.
    child.stdin.on('error', () => {});
    child.stdin.end(input);
  });
