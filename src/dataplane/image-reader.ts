/**
 * Reads image files. Synchronously: they are in memory (tmpfs), and each turn through the thread pool would wait for a core that pods hold.
 * Into the same memory each time, since fresh pages cost more than the copy.
 */
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import type { ImageStatus } from './protocol/answers.js';

const maximumImageBytes = 1024 * 1024 * 1024;
/** Of a larger image the time is in its checks, and the memory is better given back. */
const mostKept = 8 * 1024 * 1024;

export class ImageReader {
  #kept = Buffer.alloc(0);

  /** The file's bytes, valid until the next call; or why there are none. */
  read(path: string): Buffer | ImageStatus {
    let descriptor = -1;
    try {
      // Whatever the path has become, opening it waits for nobody: a FIFO would.
      descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
      const file = fstatSync(descriptor);
      if (!file.isFile()) return refused('image-read', `${path} is no file`);
      if (file.size > maximumImageBytes)
        return refused(
          'image-size',
          `${path} has ${file.size} bytes; at most ${maximumImageBytes} are loaded`,
        );
      const bytes = this.#room(file.size);
      let at = 0;
      while (at < bytes.length) {
        const read = readSync(descriptor, bytes, at, bytes.length - at, null);
        if (read === 0) break;
        at += read;
      }
      // Shorter than it was a moment ago: the switch refuses it for what is missing.
      return bytes.subarray(0, at);
    } catch (error) {
      return refused('image-read', `the image cannot be read: ${(error as Error).message}`);
    } finally {
      if (descriptor >= 0) closeSync(descriptor);
    }
  }

  #room(size: number): Buffer {
    if (size > mostKept) return Buffer.allocUnsafeSlow(size);
    // A little more than is needed, so that an image that grows by a rule fits again.
    if (this.#kept.length < size) this.#kept = Buffer.allocUnsafeSlow(Math.min(mostKept, size + (size >> 3)));
    return this.#kept.subarray(0, size);
  }
}

export function refused(code: string, message: string): ImageStatus {
  return { status: 'refused', error: { code, message } };
}
