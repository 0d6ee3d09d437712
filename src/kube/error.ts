/** What an API server's refusals mean. An answer that is no success becomes a KubeError with a stable code; the reflector acts on those. */
import { WeftError } from '../errors/problem.js';
import { objectOf, textOf } from '../manifests/plain.js';

export type KubeErrorCode =
  | 'kube-away'
  | 'kube-tls'
  | 'kube-unauthorized'
  | 'kube-forbidden'
  | 'kube-absent'
  | 'kube-expired'
  | 'kube-busy'
  | 'kube-failed'
  | 'kube-garbled'
  | 'kube-too-large';

export class KubeError extends WeftError {
  override readonly code: KubeErrorCode;
  /** Of the answer; 0: there was none. */
  readonly status: number;
  /** Milliseconds that the server asks to wait; 0: it does not say. */
  readonly retryAfter: number;

  constructor(
    code: KubeErrorCode,
    message: string,
    options: { status?: number; retryAfter?: number; cause?: unknown } = {},
  ) {
    super(code, message, options.cause === undefined ? {} : { cause: options.cause });
    this.code = code;
    this.status = options.status ?? 0;
    this.retryAfter = options.retryAfter ?? 0;
  }
}

/** A server can say anything at any length; a log line is for people. */
const longestWords = 400;

export function shorten(text: string, most = longestWords): string {
  return text.length <= most ? text : `${text.slice(0, most - 1)}…`;
}

const codes: ReadonlyMap<number, KubeErrorCode> = new Map([
  [401, 'kube-unauthorized'],
  [403, 'kube-forbidden'],
  [404, 'kube-absent'],
  [410, 'kube-expired'],
  [429, 'kube-busy'],
  [503, 'kube-busy'],
]);

/** The longest that a server may make us wait. Milliseconds. */
const longestRetryAfter = 60_000;

/** `what`: the request, such as `list pods`. `body`: a Status object where the server is well, anything else where it is not. */
export function refusal(what: string, status: number, body: unknown, retryAfterHeader?: string): KubeError {
  const { message, details } = objectOf(body);
  const words = textOf(message) || (typeof body === 'string' ? body.trim() : '');
  const seconds = Number(retryAfterHeader ?? objectOf(details).retryAfterSeconds ?? 0);
  const said = words === '' ? '' : `: ${shorten(words)}`;
  return new KubeError(
    codes.get(status) ?? 'kube-failed',
    `The API server answered ${status} to ${what}${said}${/[.!?]$/.test(said) ? '' : '.'}`,
    { status, retryAfter: seconds > 0 ? Math.min(seconds * 1000, longestRetryAfter) : 0 },
  );
}
