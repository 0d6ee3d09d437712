/** A line client's peer may end in any way; whoever waits for an answer gets one kind of error, with its code. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { LineClient } from '../../../src/lab/line-client.js';

const endings: readonly (readonly [name: string, end: (socket: Socket) => void])[] = [
  ['closes in good order', (socket) => socket.end()],
  // What it did not read makes the kernel answer with a reset, as when the process is killed.
  ['is gone with words unread', (socket) => socket.destroy()],
  ['speaks something else', (socket) => socket.write('SSH-2.0-x\r\n')],
];
for (const [name, end] of endings) {
  for (const when of ['before', 'after'] as const) {
    test(`a peer that ${name} ${when} reading the request: lab-away`, async (t) => {
      const folder = mkdtempSync(join(tmpdir(), 'weft-line-'));
      const server = createServer((socket) => {
        socket.on('error', () => {});
        if (when === 'after') socket.once('data', () => end(socket));
        else {
          socket.pause();
          setTimeout(() => end(socket), 50);
        }
      });
      t.after(() => {
        server.close();
        rmSync(folder, { recursive: true });
      });
      const path = join(folder, 's');
      await new Promise<void>((resolve) => server.listen(path, resolve));
      const client = await LineClient.connect(path, { maximumLine: 1000 });
      await assert.rejects(client.request('status', {}), { name: 'WeftError', code: 'lab-away' });
      assert.equal(client.open, false);
      await assert.rejects(client.request('status', {}), { code: 'lab-away' });
      client.close();
    });
  }
}
