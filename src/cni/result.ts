/**
 * A CNI result: one value inside, one shape a version outside. 0.3.x and 0.4.0 have `ips[].version`; 1.0.0 dropped it; 1.1.0 has MTUs and more of
 * interfaces and routes. A field never goes to a version that does not know it. What other plugins of a chain put in is kept as
 * far as the specification names it.
 */

import { parseAddress } from '../net/address.js';
import {
  type Fields,
  neededText,
  objectAt,
  optionalCount,
  optionalList,
  optionalObject,
  optionalText,
  parseAddressWithLength,
  wrongType,
  wrongValue,
} from './fields.js';
import { atLeast, type CniVersion } from './version.js';

export interface CniInterface {
  readonly name: string;
  readonly mac?: string;
  readonly sandbox?: string;
  // From 1.1.0 on:
  readonly mtu?: number;
  readonly socketPath?: string;
  readonly pciID?: string;
}

export interface CniAddress {
  /** With its prefix length. */
  readonly address: string;
  readonly gateway?: string;
  /** Index into the interfaces. */
  readonly interface?: number;
}

export interface CniRoute {
  readonly dst: string;
  readonly gw?: string;
  // From 1.1.0 on:
  readonly mtu?: number;
  readonly advmss?: number;
  readonly priority?: number;
  readonly table?: number;
  readonly scope?: number;
}

export interface CniDns {
  readonly nameservers?: readonly string[];
  readonly domain?: string;
  readonly search?: readonly string[];
  readonly options?: readonly string[];
}

export interface CniResult {
  readonly interfaces: readonly CniInterface[];
  readonly ips: readonly CniAddress[];
  readonly routes: readonly CniRoute[];
  readonly dns: CniDns;
}

const newInterfaceFields = ['mtu', 'socketPath', 'pciID'] as const;
const newRouteFields = ['mtu', 'advmss', 'priority', 'table', 'scope'] as const;

/** The result as an object of that version. */
export function writeResult(result: CniResult, version: CniVersion): object {
  const recent = atLeast(version, '1.1.0');
  const versioned = !atLeast(version, '1.0.0');
  return {
    cniVersion: version,
    ...(result.interfaces.length === 0
      ? {}
      : { interfaces: result.interfaces.map((one) => (recent ? one : without(one, newInterfaceFields))) }),
    ...(result.ips.length === 0
      ? {}
      : {
          ips: result.ips.map((one) => ({
            ...(versioned ? { version: one.address.includes(':') ? '6' : '4' } : {}),
            ...one,
          })),
        }),
    ...(result.routes.length === 0
      ? {}
      : { routes: result.routes.map((one) => (recent ? one : without(one, newRouteFields))) }),
    ...(Object.keys(result.dns).length === 0 ? {} : { dns: result.dns }),
  };
}

function without<T extends object>(value: T, names: readonly string[]): object {
  return Object.fromEntries(Object.entries(value).filter(([name]) => !names.includes(name)));
}

/** A previous result of any version that weft speaks. Throws codes 6 and 7 with the field. */
export function readResult(value: unknown, at: string): CniResult {
  const result = objectAt(value, at);
  const interfaces = optionalList(result, 'interfaces', `${at}.interfaces`).map((entry, index) =>
    readInterface(objectAt(entry, `${at}.interfaces[${index}]`), `${at}.interfaces[${index}]`),
  );
  return {
    interfaces,
    ips: optionalList(result, 'ips', `${at}.ips`).map((entry, index) =>
      readAddress(objectAt(entry, `${at}.ips[${index}]`), `${at}.ips[${index}]`, interfaces.length),
    ),
    routes: optionalList(result, 'routes', `${at}.routes`).map((entry, index) =>
      readRoute(objectAt(entry, `${at}.routes[${index}]`), `${at}.routes[${index}]`),
    ),
    dns: readDns(result, `${at}.dns`),
  };
}

function readInterface(entry: Fields, at: string): CniInterface {
  return {
    name: neededText(entry, 'name', `${at}.name`),
    ...texts(entry, at, ['mac', 'sandbox', 'socketPath', 'pciID']),
    ...counts(entry, at, ['mtu']),
  };
}

function readAddress(entry: Fields, at: string, interfaces: number): CniAddress {
  const address = neededText(entry, 'address', `${at}.address`);
  if (parseAddressWithLength(address) === undefined)
    throw wrongValue(`${at}.address`, address, 'an address with its prefix length');
  const index = optionalCount(entry, 'interface', `${at}.interface`);
  if (index !== undefined && index >= interfaces)
    throw wrongValue(`${at}.interface`, index, `an index into the ${interfaces} interfaces`);
  return {
    address,
    ...gatewayOf(entry, 'gateway', at),
    ...(index === undefined ? {} : { interface: index }),
  };
}

function readRoute(entry: Fields, at: string): CniRoute {
  const dst = neededText(entry, 'dst', `${at}.dst`);
  if (parseAddressWithLength(dst) === undefined) throw wrongValue(`${at}.dst`, dst, 'a CIDR');
  return { dst, ...gatewayOf(entry, 'gw', at), ...counts(entry, at, newRouteFields) };
}

function gatewayOf(entry: Fields, name: string, at: string): object {
  const gateway = optionalText(entry, name, `${at}.${name}`) ?? '';
  if (gateway === '') return {};
  if (parseAddress(gateway) === undefined) throw wrongValue(`${at}.${name}`, gateway, 'an address');
  return { [name]: gateway };
}

export function readDns(object: Fields, at: string): CniDns {
  const dns = optionalObject(object, 'dns', at) ?? {};
  const lists: Record<string, readonly string[]> = {};
  for (const name of ['nameservers', 'search', 'options']) {
    const list = optionalList(dns, name, `${at}.${name}`);
    if (!list.every((one) => typeof one === 'string')) throw wrongType(`${at}.${name}`, 'a list of text');
    if (list.length > 0) lists[name] = list as readonly string[];
  }
  return { ...texts(dns, at, ['domain']), ...lists };
}

function texts(entry: Fields, at: string, names: readonly string[]): object {
  const found: Record<string, string> = {};
  for (const name of names) {
    const value = optionalText(entry, name, `${at}.${name}`);
    if (value !== undefined && value !== '') found[name] = value;
  }
  return found;
}

function counts(entry: Fields, at: string, names: readonly string[]): object {
  const found: Record<string, number> = {};
  for (const name of names) {
    const value = optionalCount(entry, name, `${at}.${name}`);
    if (value !== undefined) found[name] = value;
  }
  return found;
}

/** Ours behind what the plugins before us made. DNS is ours where the configuration gives any. */
export function appendResult(previous: CniResult, own: CniResult): CniResult {
  const offset = previous.interfaces.length;
  return {
    interfaces: [...previous.interfaces, ...own.interfaces],
    ips: [
      ...previous.ips,
      ...own.ips.map((one) =>
        one.interface === undefined ? one : { ...one, interface: one.interface + offset },
      ),
    ],
    routes: [...previous.routes, ...own.routes],
    dns: Object.keys(own.dns).length > 0 ? own.dns : previous.dns,
  };
}
