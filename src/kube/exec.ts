/**
 * A program in a container, by the exec subresource over a WebSocket: its standard input and output are this stream. Kubernetes' subprotocol
 * v4 (all that older servers speak) or v5 (which can also close standard input): the first byte of a message is its channel.
 */
import { Duplex } from 'node:stream';
import { objectOf, objectsOf, textOf } from '../manifests/plain.js';
import type { KubeClient } from './client.js';
import { KubeError, shorten } from './error.js';
import { WebSocketClient } from './websocket.js';

const channel = { stdin: 0, stdout: 1, stderr: 2, status: 3, close: 255 } as const;
const protocols = ['v5.channel.k8s.io', 'v4.channel.k8s.io'] as const;
const largestMessage = 32_768;
/** Proxies on the way close connections on which nothing happens for a minute. */
const pingEvery = 25_000;

export interface ExecTarget {
  readonly namespace: string;
  readonly pod: string;
  readonly container: string;
  readonly command: readonly string[];
}

/** Throws a KubeError where the program cannot be started. */
export async function exec(client: KubeClient, target: ExecTarget): Promise<ExecStream> {
  const { namespace, pod, container, command } = target;
  const query = new URLSearchParams({
    container,
    stdin: 'true',
    stdout: 'true',
    stderr: 'true',
    tty: 'false',
  });
  for (const word of command) query.append('command', word);
  const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods/${encodeURIComponent(pod)}/exec`;
  try {
    return new ExecStream(await WebSocketClient.open(client, `${path}?${query}`, protocols));
  } catch (error) {
    if (error instanceof KubeError && error.code === 'kube-forbidden')
      throw new KubeError(
        'kube-forbidden',
        `${error.message} Let this user run programs in weft's pods: a Role in the namespace ${namespace} with the rule {apiGroups: [""], resources: [pods/exec], verbs: [get, create]}, bound to it.`,
        { status: error.status, cause: error },
      );
    throw error;
  }
}

/** Ends when the program has; destroyed with an error where it failed or the stream broke. */
export class ExecStream extends Duplex {
  readonly #socket: WebSocketClient;
  readonly #pinging: NodeJS.Timeout;
  /** The end of what the program wrote to standard error. */
  #words = '';
  #ended = false;

  constructor(socket: WebSocketClient) {
    super({ allowHalfOpen: true });
    this.#socket = socket;
    this.#pinging = setInterval(() => socket.ping(), pingEvery);
    socket.start({
      message: (data) => this.#take(data),
      closed: (error) => {
        clearInterval(this.#pinging);
        if (error !== null && !this.#ended) this.destroy(error);
        else this.#end();
      },
    });
  }

  override _read(): void {
    this.#socket.resume();
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    const send = (from: number): void => {
      const piece = chunk.subarray(from, from + largestMessage);
      this.#socket.send(Buffer.concat([Buffer.from([channel.stdin]), piece]), (error) => {
        if (error || from + piece.length >= chunk.length) done(error);
        else send(from + piece.length);
      });
    };
    send(0);
  }

  override _final(done: (error?: Error | null) => void): void {
    // v4 cannot say it: there the program reads its end when the stream goes.
    if (this.#socket.protocol === 'v5.channel.k8s.io')
      this.#socket.send(Buffer.from([channel.close, channel.stdin]), () => done());
    else done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    clearInterval(this.#pinging);
    this.#socket.close();
    done(error);
  }

  #take(data: Buffer): void {
    const rest = data.subarray(1);
    switch (data[0]) {
      case channel.stdout:
        if (rest.length > 0 && !this.#ended && !this.push(rest)) this.#socket.pause();
        return;
      case channel.stderr:
        this.#words = (this.#words + rest.toString()).slice(-2000);
        return;
      case channel.status:
        this.#status(rest);
        return;
      default:
    }
  }

  #status(text: Buffer): void {
    let status: Record<string, unknown>;
    try {
      status = objectOf(JSON.parse(text.toString()));
    } catch {
      this.destroy(
        new KubeError('kube-garbled', `The end of a program is no JSON: ${shorten(text.toString(), 80)}`),
      );
      return;
    }
    if (textOf(status.status) === 'Success') {
      this.#end();
      return;
    }
    const causes = objectsOf(objectOf(status.details).causes);
    const code = textOf(causes.find(({ reason }) => reason === 'ExitCode')?.message);
    const said = this.#words.trim();
    this.destroy(
      new KubeError(
        'kube-failed',
        code === '' || said === ''
          ? `${shorten(textOf(status.message) || 'The program failed')}${said === '' ? '' : `: ${shorten(said)}`}`
          : shorten(said.replace(/^weft: /, '')),
      ),
    );
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.push(null);
  }
}
