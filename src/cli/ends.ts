/**
 * The two ends of a question, as people write them. One grammar, used wherever a pair of ends is named:
 *
 *     FROM, TO = NAMESPACE/POD | POD | svc/NAMESPACE/NAME | svc:NAMESPACE/NAME | node/NAME | node:NAME | ADDRESS
 *     target   = TO | TO:PORT | TO:PORT/PROTOCOL | TO/PROTOCOL (only icmp has no port)
 *
 * A pod without a namespace is in `default`. Where no pod has the name, a workload's name stands for its first pod, else a Service's
 * for the Service (policy/stand-in). An IPv6 address that has a port behind it stands in brackets. PORT is a number or the name of a
 * port of the destination; PROTOCOL is TCP (the default), UDP, SCTP or ICMP, in either case.
 *
 * At the command line people also write what kubectl and DNS call things: pod/NAME and deploy/NAME are pods, service/NAME is a Service,
 * and so is NAME.NAMESPACE.svc with or without a domain (`parseSpokenEnd`). Files and batches have the grammar above and no more: there a
 * pod of a namespace called `deploy` is meant by its name.
 */
import { parseAddress } from '../net/address.js';
import type { End } from '../policy/end.js';
import type { FlowProtocol } from '../policy/flow.js';

export { type End, formatEnd, withPort } from '../policy/end.js';

export interface Target {
  readonly end: End;
  readonly port?: number | string;
  readonly protocol?: FlowProtocol;
}

/** What was wrong and what would be right, as one sentence. */
export interface Misread {
  readonly error: string;
}

export function isMisread(value: object): value is Misread {
  return 'error' in value;
}

// Names are taken as they come; that no object has one is for the world to say.
const name = '[^\\s/:\\[\\]]+';
const podPattern = new RegExp(`^(?:(${name})/)?(${name})$`);
const kindedPodPattern = new RegExp(
  `^(?:po|pods?|deploy|deployments?|sts|statefulsets?|ds|daemonsets?|rs|replicasets?)/(?:(${name})/)?(${name})$`,
);
const servicePattern = new RegExp(`^svc[:/](?:(${name})/)?(${name})$`);
const spokenServicePattern = new RegExp(`^services?[:/](?:(${name})/)?(${name})$`);
const label = '[^\\s./:\\[\\]]+';
const serviceDnsPattern = new RegExp(`^(${label})\\.(${label})\\.svc(?:\\.[^\\s/:]*)?$`);
const nodePattern = new RegExp(`^node[:/](${name})$`);

export const endGrammar =
  'NAMESPACE/POD, an IP address, node/NAME or svc/NAMESPACE/NAME, for example web/frontend or 203.0.113.9';

export function parseEnd(text: string): End | Misread {
  const bare = /^\[(.*)\]$/.exec(text)?.[1] ?? text;
  const address = parseAddress(bare);
  if (address !== undefined) return { kind: 'address', address };
  const service = servicePattern.exec(text);
  if (service !== null)
    return { kind: 'service', namespace: service[1] ?? 'default', name: service[2] ?? '' };
  const node = nodePattern.exec(text);
  if (node !== null) return { kind: 'node', name: node[1] ?? '' };
  const pod = podPattern.exec(text);
  if (pod !== null && !/^[0-9.]+$/.test(text)) {
    return { kind: 'pod', namespace: pod[1] ?? 'default', name: pod[2] ?? '' };
  }
  return { error: `"${text}" names no end. Write ${endGrammar}.` };
}

/** An end as it is written at the command line, see above. */
export function parseSpokenEnd(text: string): End | Misread {
  const service = spokenServicePattern.exec(text);
  if (service !== null)
    return { kind: 'service', namespace: service[1] ?? 'default', name: service[2] ?? '' };
  const dns = serviceDnsPattern.exec(text);
  if (dns !== null) return { kind: 'service', namespace: dns[2] ?? '', name: dns[1] ?? '' };
  const pod = kindedPodPattern.exec(text);
  if (pod !== null) return { kind: 'pod', namespace: pod[1] ?? 'default', name: pod[2] ?? '' };
  return parseEnd(text);
}

/** The end that starts a connection. A port behind it, as `weft drops` prints it, is chance: it is read and left. */
export function parseSource(text: string): End | Misread {
  const target = parseTarget(text);
  if (isMisread(target) || (target.port === undefined && target.protocol !== undefined))
    return parseSpokenEnd(text);
  return target.end;
}

export function parseTarget(text: string): Target | Misread {
  // An IPv6 address without brackets has colons of its own and therefore no port.
  if (parseAddress(text) !== undefined) {
    const end = parseSpokenEnd(text);
    return isMisread(end) ? end : { end };
  }
  const [, endText = '', , portText, , protocolText] =
    /^(\[[^\]]*\]|(?:svc:|services?:|node:)?[^:]*?)(:([^/:]+))?(\/([A-Za-z]+[0-9]?))?$/.exec(text) ?? [];
  const protocol = protocolText === undefined ? undefined : protocolNamed(protocolText);
  // `web/tcp` is a pod called tcp unless a port stands before it; ICMP is the one protocol that has no port.
  const isProtocol = protocol !== undefined && (portText !== undefined || protocol === 'ICMP');
  if (protocolText !== undefined && !isProtocol) {
    if (portText !== undefined) {
      return { error: `"${protocolText}" is no protocol. Write TCP, UDP, SCTP or ICMP.` };
    }
    const end = parseSpokenEnd(text);
    return isMisread(end) ? end : { end };
  }
  const end = parseSpokenEnd(endText);
  if (isMisread(end))
    return { error: `"${text}" names no end and port. Write ${endGrammar}, then :PORT/PROTOCOL.` };
  const port = portText === undefined ? undefined : portOf(portText);
  if (typeof port === 'object') return port;
  return {
    end,
    ...(port === undefined ? {} : { port }),
    ...(protocol === undefined ? {} : { protocol }),
  };
}

/** A number from 1 to 65535, or the name of a port. */
export function portOf(text: string): number | string | Misread {
  if (/^[0-9]+$/.test(text)) {
    const number = Number(text);
    return number >= 1 && number <= 65535
      ? number
      : { error: `Port ${text} is out of range. Write a number from 1 to 65535.` };
  }
  if (text.length <= 15 && /^[a-z0-9]+(-[a-z0-9]+)*$/.test(text)) return text;
  return { error: `"${text}" is no port. Write a number from 1 to 65535 or the name of a container port.` };
}

export function protocolNamed(text: string): FlowProtocol | undefined {
  const upper = text.toUpperCase();
  if (upper === 'ICMPV6') return 'ICMP';
  return upper === 'TCP' || upper === 'UDP' || upper === 'SCTP' || upper === 'ICMP' ? upper : undefined;
}
