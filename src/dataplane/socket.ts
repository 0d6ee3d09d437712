/** The unix sockets of weft's own processes, from the side that connects. */
import { createConnection, type Socket } from 'node:net';

/** Rejects with what connecting failed with. */
export function openSocket(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(path);
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.off('error', reject);
      resolve(socket);
    });
  });
}

/** Whether a process takes connections there; a socket file alone is nobody. */
export function somebodyListens(path: string): Promise<boolean> {
  return openSocket(path).then(
    (socket) => {
      socket.destroy();
      return true;
    },
    () => false,
  );
}
