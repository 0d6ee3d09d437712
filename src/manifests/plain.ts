/** Reading fields of plain objects: the few questions that every decoder asks, each with an answer for any value. */
import type { SourceRef } from '../errors/problem.js';
import type { Labels } from '../model/labels.js';
import { isProtocol, type Protocol } from '../model/protocol.js';
import { type Address, parseAddress } from '../net/address.js';
import type { FieldPath, ManifestObject } from './object.js';

export type PlainObject = Readonly<Record<string, unknown>>;

export function isPlainObject(value: unknown): value is PlainObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const emptyObject: PlainObject = Object.freeze({});

/** The value where it is an object, else an empty one. */
export function objectOf(value: unknown): PlainObject {
  return isPlainObject(value) ? value : emptyObject;
}

/** The items that are objects; nothing where the value is no list. */
export function objectsOf(value: unknown): readonly PlainObject[] {
  return Array.isArray(value) ? value.filter(isPlainObject) : [];
}

export function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

export function isAbsent(value: unknown): value is undefined | null {
  return value === undefined || value === null;
}

export function hasOnly(value: PlainObject, fields: ReadonlySet<string>): boolean {
  for (const field in value) if (!fields.has(field)) return false;
  return true;
}

/** Name and namespace of an object; undefined where it has no name. Objects without a namespace live in `default`. */
export function nameOf(value: PlainObject): { namespace: string; name: string; uid: string } | undefined {
  const metadata = objectOf(value.metadata);
  const name = textOf(metadata.name);
  if (name === '') return undefined;
  return { namespace: textOf(metadata.namespace) || 'default', name, uid: textOf(metadata.uid) };
}

/** undefined where the value is no mapping of text to text. Absent labels are no labels. */
export function labelsFrom(value: unknown): Labels | undefined {
  if (isAbsent(value)) return new Map();
  if (!isPlainObject(value)) return undefined;
  const labels = new Map<string, string>();
  for (const key of Object.keys(value)) {
    const text = value[key];
    if (typeof text !== 'string') return undefined;
    labels.set(key, text);
  }
  return labels;
}

/** The addresses of `[{ip}]` or `[text]`, or the single one where the list is empty; what is no address is left out. */
export function addressesFrom(list: unknown, single?: unknown): Address[] {
  const texts: unknown[] = Array.isArray(list)
    ? list.map((entry) => (isPlainObject(entry) ? entry.ip : entry))
    : [];
  if (texts.length === 0) texts.push(single);
  const addresses: Address[] = [];
  for (const text of texts) {
    const address = typeof text === 'string' ? parseAddress(text) : undefined;
    if (address !== undefined) addresses.push(address);
  }
  return addresses;
}

export function isPortNumber(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= 65535;
}

/** An IANA service name (RFC 6335, section 5.1): what a port may be called. */
export function isPortName(value: unknown): value is string {
  return (
    typeof value === 'string' &&
    value.length <= 15 &&
    /^[a-z0-9]+(-[a-z0-9]+)*$/.test(value) &&
    /[a-z]/.test(value)
  );
}

/** Absent means TCP; undefined: not a protocol that a policy or Service can name. */
export function protocolFrom(value: unknown): Protocol | undefined {
  if (isAbsent(value)) return 'TCP';
  return typeof value === 'string' && isProtocol(value) ? value : undefined;
}

/** `{source}` to spread into a model object, empty without an origin. */
export function sourceAt(origin: ManifestObject | undefined, path: FieldPath): { source?: SourceRef } {
  return origin === undefined ? {} : { source: lazySource(origin, path) };
}

/**
 * A reference whose line and column are looked up when first asked for: a hundred thousand pods have sources, a handful are shown.
 */
function lazySource(origin: ManifestObject, path: FieldPath): SourceRef {
  let found: SourceRef | undefined;
  const find = () => {
    found ??= origin.locate(path);
    return found;
  };
  return {
    file: origin.file,
    get line() {
      return find().line;
    },
    get column() {
      return find().column;
    },
    get path() {
      return find().path;
    },
  } as SourceRef;
}
