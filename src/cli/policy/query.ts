/** One question of a query file or a batch line: JSON → typed, or what is wrong with it. */
import { closestName } from '../../errors/closest.js';
import type { FlowProtocol } from '../../policy/flow.js';
import { type End, isMisread, type Misread, parseEnd, portOf, protocolNamed, type Target } from '../ends.js';

export interface Query {
  readonly from: End;
  readonly to: End;
  /** Number, or a name that the destination pod or service gives to a port. Absent for ICMP. */
  readonly port?: number | string;
  readonly protocol: FlowProtocol;
  /** Absent: the first family of the source, in the order of its addresses, that the destination has too. */
  readonly family?: 4 | 6;
}

const fields: ReadonlySet<string> = new Set(['from', 'to', 'port', 'protocol', 'family']);

export function parseQuery(value: unknown): Query | Misread {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return { error: 'A query is an object {"from", "to", "port", "protocol", "family"}.' };
  }
  const given = value as Record<string, unknown>;
  for (const field of Object.keys(given)) {
    // Notes of the author's own pass; what looks like a field that was meant does not.
    const meant = fields.has(field) ? null : closestName(field, fields);
    if (meant !== null) return { error: `"${field}" is no field of a query; "${meant}" is.` };
  }
  const from = endOf(given.from, 'from');
  if (isMisread(from)) return from;
  if (from.kind === 'service')
    return { error: 'A Service starts no connections; "from" is a pod, a node or an address.' };
  const to = endOf(given.to, 'to');
  if (isMisread(to)) return to;
  const protocol = typeof given.protocol === 'string' ? protocolNamed(given.protocol) : undefined;
  if (!isAbsent(given.protocol) && protocol === undefined) {
    return { error: `protocol ${JSON.stringify(given.protocol)} is none of TCP, UDP, SCTP and ICMP.` };
  }
  const family = given.family;
  if (!isAbsent(family) && family !== 4 && family !== 6) {
    return { error: `family ${JSON.stringify(family)} is neither 4 nor 6.` };
  }
  return completed(from, to, given.port, protocol ?? 'TCP', isAbsent(family) ? undefined : (family as 4 | 6));
}

/** The query of `weft why FROM TARGET`. */
export function queryOf(from: End, target: Target, family?: 4 | 6): Query | Misread {
  return completed(from, target.end, target.port, target.protocol ?? 'TCP', family);
}

function completed(
  from: End,
  to: End,
  port: unknown,
  protocol: FlowProtocol,
  family: 4 | 6 | undefined,
): Query | Misread {
  const common = { from, to, protocol, ...(family === undefined ? {} : { family }) };
  if (protocol === 'ICMP') return common;
  if (isAbsent(port)) return { error: `A ${protocol} query needs a port.` };
  const read =
    typeof port === 'number' && Number.isInteger(port)
      ? portOf(String(port))
      : typeof port === 'string'
        ? portOf(port)
        : { error: `port ${JSON.stringify(port)} is neither a number nor a name.` };
  return typeof read === 'object' ? read : { ...common, port: read };
}

function endOf(value: unknown, field: string): End | Misread {
  if (typeof value !== 'string') return { error: `"${field}" is missing or no text.` };
  return parseEnd(value);
}

function isAbsent(value: unknown): value is undefined | null {
  return value === undefined || value === null;
}
