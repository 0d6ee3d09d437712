/**
 * A client's line becomes a typed request here. Senders are root or the agent's own user, so this guards against mistakes: a client of
 * another version, a typing error in a script. What has a form of its own is held to it where it is understood: the fields of `attach`
 * in attachment.ts, the call of `cni` in src/cni.
 */
import { WeftError } from '../errors/problem.js';
import type { AgentRequest } from './protocol.js';

interface Form {
  readonly is: (value: unknown) => boolean;
  /** "has to be …" */
  readonly words: string;
  readonly optional?: true;
}

type Fields = Readonly<Record<string, unknown>>;

const isObject = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const isText = (value: unknown): value is string => typeof value === 'string';
const isWhole = (value: unknown) => Number.isSafeInteger(value) && (value as number) >= 0;

const text: Form = { is: isText, words: 'text' };
const number: Form = {
  is: (value) => typeof value === 'number' && Number.isFinite(value) && value >= 0,
  words: 'a number, 0 or more',
};
const whole: Form = { is: isWhole, words: 'a whole number, 0 or more' };
const flag: Form = { is: (value) => typeof value === 'boolean', words: 'true or false' };
const texts: Form = { is: (value) => Array.isArray(value) && value.every(isText), words: 'a list of texts' };
const manifests: Form = {
  is: (value) =>
    Array.isArray(value) && value.every((item) => isObject(item) && isText(item.file) && isText(item.text)),
  words: 'a list of objects with file and text',
};
const questionEnd: Form = {
  is: (value) =>
    isObject(value) &&
    (value.kind === 'address'
      ? isText(value.address)
      : value.kind === 'node'
        ? isText(value.name)
        : (value.kind === 'pod' || value.kind === 'service') &&
          isText(value.namespace) &&
          isText(value.name)),
  words: 'a pod, a Service, a node or an address',
};
const port: Form = { is: (value) => isText(value) || isWhole(value), words: 'a number or a name' };
const family: Form = { is: (value) => value === 4 || value === 6, words: '4 or 6' };

const optional = (form: Form): Form => ({ ...form, optional: true });
const pod = { namespace: text, name: text };
const maybePod = { namespace: optional(text), name: optional(text) };

const forms: Readonly<Record<AgentRequest['type'], Readonly<Record<string, Form>>>> = {
  attach: { timeoutMilliseconds: optional(number) },
  detach: { ...maybePod, containerId: optional(text), ifname: optional(text) },
  cni: {},
  'cni-taken': {},
  sync: { timeoutMilliseconds: optional(number) },
  status: {},
  ports: maybePod,
  connections: { ...maybePod, limit: optional(whole) },
  metrics: {},
  reload: {},
  flows: { ...maybePod, follow: optional(flag), denied: optional(flag), drops: optional(flag) },
  why: {
    from: questionEnd,
    to: questionEnd,
    port: optional(port),
    protocol: optional(text),
    family: optional(family),
  },
  capture: { ...pod, drops: optional(flag), snapLength: optional(whole), count: optional(whole) },
  trial: { manifests, remove: texts, seconds: number },
};

/** Throws `request-invalid` with what is wrong. */
export function parseRequest(message: Fields): AgentRequest {
  const { type } = message;
  if (!isText(type) || !Object.hasOwn(forms, type))
    throw new WeftError(
      'request-invalid',
      `The agent does not know the request ${JSON.stringify(type)}. Agent and client have to be of one version.`,
    );
  for (const [field, form] of Object.entries(forms[type as AgentRequest['type']])) {
    const value = message[field];
    if (value === undefined && form.optional === true) continue;
    if (!form.is(value))
      throw new WeftError(
        'request-invalid',
        `The request ${type} is not valid: ${field} has to be ${form.words}.`,
      );
  }
  return message as unknown as AgentRequest;
}
