/**
 * `weft relay`: connects standard input and output with this node's agent, for commands that ask from afar (through the API server's exec). Ends
 * when either side does, and when nothing was heard for a while of who asked: a connection that was cut tells nobody, and what
 * was asked for (a trial, a capture) must not outlive it.
 */
import { createConnection } from 'node:net';
import type { Command } from 'commander';
import { type RunOptions, socketPath, withRunOptions } from '../connect.js';

/** Milliseconds. Whoever asks sends an empty line every 30 s (far.ts). */
const longestSilence = 90_000;

export function register(program: Command): void {
  withRunOptions(
    program
      .command('relay', { hidden: true })
      .description("Connect standard input and output with this node's agent."),
  ).action(relay);
}

async function relay(options: RunOptions): Promise<void> {
  const path = await socketPath(options);
  const socket = createConnection(path);
  await new Promise<void>((resolve) => {
    const silent = setTimeout(() => socket.destroy(), longestSilence);
    const end = () => {
      clearTimeout(silent);
      process.stdin.destroy();
      resolve();
    };
    // In the agent's own words for what concerns a connection and no request of it.
    socket.once('error', (error: NodeJS.ErrnoException) => {
      const message = `No agent answers at ${path} (${error.code}). It may be starting; its log has more.`;
      process.stdout.write(`${JSON.stringify({ type: 'error', id: 0, code: 'agent-away', message })}\n`);
    });
    socket.once('close', end);
    process.stdin.on('data', () => silent.refresh());
    process.stdin.pipe(socket);
    process.stdin.once('error', () => socket.destroy());
    socket.pipe(process.stdout, { end: false });
  });
}
