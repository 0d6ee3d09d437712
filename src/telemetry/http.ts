/** `/metrics`, `/healthz`, `/readyz`: read-only, no authentication, bounded; loopback unless configured otherwise. */
import { createServer, type Server } from 'node:http';
import { WeftError } from '../errors/problem.js';

export interface TelemetryPages {
  readonly metrics: () => Promise<{ readonly text: string; readonly contentType: string }>;
  /** null: ready; otherwise why not. */
  readonly unready: () => string | null;
}

export class TelemetryServer {
  readonly #server: Server;

  constructor(pages: TelemetryPages) {
    this.#server = createServer(
      { requestTimeout: 5000, headersTimeout: 5000, maxHeaderSize: 8192 },
      (request, response) => {
        const reply = (status: number, text: string, type = 'text/plain; charset=utf-8') => {
          response.writeHead(status, { 'content-type': type, 'x-content-type-options': 'nosniff' });
          response.end(request.method === 'HEAD' ? undefined : text);
        };
        if (request.method !== 'GET' && request.method !== 'HEAD') return reply(405, 'only GET\n');
        switch ((request.url ?? '').split('?')[0]) {
          case '/healthz':
            return reply(200, 'ok\n');
          case '/readyz': {
            const reason = pages.unready();
            return reason === null ? reply(200, 'ready\n') : reply(503, `not ready: ${reason}\n`);
          }
          case '/metrics':
            pages.metrics().then(
              ({ text, contentType }) => reply(200, text, contentType),
              (error: Error) => reply(500, `${error.message}\n`),
            );
            return;
          default:
            return reply(404, 'There are /metrics, /healthz and /readyz.\n');
        }
      },
    );
    this.#server.maxConnections = 64;
  }

  /** Resolves with the port that is listened on. Throws `telemetry-listen`. */
  async listen(address: string, port: number): Promise<number> {
    try {
      await new Promise<void>((resolve, reject) => {
        this.#server.once('error', reject);
        this.#server.listen(port, address, resolve);
      });
    } catch (error) {
      throw new WeftError(
        'telemetry-listen',
        `Metrics cannot be served at ${address} port ${port} (${(error as NodeJS.ErrnoException).code}). Change telemetry.address and telemetry.port, or set telemetry.enabled to false.`,
        { cause: error },
      );
    }
    const bound = this.#server.address();
    return typeof bound === 'object' && bound !== null ? bound.port : port;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }
}
