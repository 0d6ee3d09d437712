/** Reading JSON of the runtime field by field. What has the wrong type cannot be decoded (code 6); a wrong value is a wrong configuration (7). */
import { type Address, parseAddress } from '../net/address.js';
import { CniFailure, cniCodes } from './failure.js';

export type Fields = Readonly<Record<string, unknown>>;

export function fieldOf(object: Fields, name: string): unknown {
  const value = Object.hasOwn(object, name) ? object[name] : undefined;
  return value === null ? undefined : value;
}

export function objectAt(value: unknown, at: string): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw wrongType(at, 'an object');
  return value as Fields;
}

export function optionalObject(object: Fields, name: string, at: string): Fields | undefined {
  const value = fieldOf(object, name);
  return value === undefined ? undefined : objectAt(value, at);
}

export function optionalList(object: Fields, name: string, at: string): readonly unknown[] {
  const value = fieldOf(object, name);
  if (value === undefined) return [];
  if (!Array.isArray(value)) throw wrongType(at, 'a list');
  return value;
}

export function optionalText(object: Fields, name: string, at: string): string | undefined {
  const value = fieldOf(object, name);
  if (value !== undefined && typeof value !== 'string') throw wrongType(at, 'text');
  return value;
}

export function neededText(object: Fields, name: string, at: string): string {
  const value = optionalText(object, name, at);
  if (value === undefined || value === '') throw wrongValue(at, value, 'given');
  return value;
}

/** A whole number of at most 2^53; larger ones (a burst of 2^64 - 1 means no bound) come out as that. */
export function optionalCount(object: Fields, name: string, at: string): number | undefined {
  const value = fieldOf(object, name);
  if (value === undefined) return undefined;
  if (typeof value !== 'number') throw wrongType(at, 'a number');
  if (value < 0 || !Number.isInteger(value))
    throw wrongValue(at, value, 'a whole number that is not negative');
  return Math.min(value, Number.MAX_SAFE_INTEGER);
}

export interface AddressWithLength {
  readonly address: Address;
  readonly length: number;
  /** `10.42.0.5/32` in its one spelling. */
  readonly text: string;
}

/** `10.42.0.5/24`, or a bare address where that is allowed. Unlike a CIDR it keeps its host bits. undefined: neither. */
export function parseAddressWithLength(text: string, bare = false): AddressWithLength | undefined {
  const [first = '', suffix, ...rest] = text.split('/');
  const address = parseAddress(first);
  if (address === undefined || rest.length > 0 || (suffix === undefined && !bare)) return undefined;
  const full = address.family === 4 ? 32 : 128;
  if (suffix !== undefined && !/^\d{1,3}$/.test(suffix)) return undefined;
  const length = suffix === undefined ? full : Number(suffix);
  return length > full ? undefined : { address, length, text: `${address.text}/${length}` };
}

export function wrongType(at: string, wanted: string): CniFailure {
  return new CniFailure(
    cniCodes.decodingFailure,
    'the network configuration cannot be decoded',
    `The field ${at} has to be ${wanted}.`,
  );
}

export function wrongValue(at: string, value: unknown, wanted: string): CniFailure {
  const found = value === undefined ? 'missing' : JSON.stringify(value)?.slice(0, 200);
  return new CniFailure(
    cniCodes.invalidConfiguration,
    'invalid network configuration',
    `The field ${at} is ${found}; it has to be ${wanted}.`,
  );
}
