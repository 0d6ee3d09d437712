/** Answers of an API server as text and values. */
import type { IncomingMessage } from 'node:http';
import { KubeError, refusal } from './error.js';

/** The whole answer as text; rejects where it is longer than `longest` bytes or breaks off. */
export function gather(response: IncomingMessage, longest: number, what: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const parts: Buffer[] = [];
    let size = 0;
    response.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size <= longest) parts.push(chunk);
      else {
        parts.length = 0;
        reject(new KubeError('kube-too-large', `The answer to ${what} is longer than ${longest} bytes.`));
        response.destroy();
      }
    });
    response.once('end', () => resolve(Buffer.concat(parts).toString()));
    const broken = () => reject(new KubeError('kube-away', `The answer to ${what} broke off.`));
    response.once('error', broken);
    response.once('close', broken);
  });
}

/** What the server's words come to, where its answer is no success. */
export function refused(what: string, response: IncomingMessage, text: string): KubeError {
  return refusal(what, response.statusCode ?? 0, parsed(text) ?? text, response.headers['retry-after']);
}

/** undefined: the text is no JSON. */
export function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
