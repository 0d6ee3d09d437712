/** A unix socket of one of weft's processes: only its owner may connect, and the file is there as long as the process listens. */
import { chmodSync, existsSync, mkdirSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';

export class OwnSocket {
  readonly #path: string;
  readonly #accept: (socket: Socket) => void;
  #server: Server | null = null;

  constructor(path: string, accept: (socket: Socket) => void) {
    this.#path = path;
    this.#accept = accept;
  }

  /** The caller holds a lock, so a file that is there is a dead process's. Rejects with what the system says. */
  async listen(): Promise<void> {
    rmSync(this.#path, { force: true });
    const server = createServer(this.#accept);
    // The file must never be there with wider rights, not even between bind and chmod.
    const mask = process.umask(0o177);
    try {
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject);
        server.listen(this.#path, resolve);
      });
    } finally {
      process.umask(mask);
    }
    chmodSync(this.#path, 0o600);
    this.#server = server;
  }

  /** Listens anew where somebody has removed the file; connections that are there go on. true: it was so. To be called by turns. */
  async keep(): Promise<boolean> {
    if (this.#server === null || existsSync(this.#path)) return false;
    mkdirSync(dirname(this.#path), { recursive: true, mode: 0o700 });
    // Nobody finds it any more. Closing removes the file, so it comes first.
    this.#server.close();
    await this.listen();
    return true;
  }

  /** Resolves when all connections have ended, too. */
  async close(): Promise<void> {
    const server = this.#server;
    this.#server = null;
    if (server !== null) await new Promise<void>((resolve) => server.close(() => resolve()));
    rmSync(this.#path, { force: true });
  }
}
