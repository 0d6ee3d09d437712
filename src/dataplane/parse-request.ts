/**
 * A frame becomes a typed request here, once; nothing behind this file checks again, and the addon receives finished values. The
 * sender is root on this node, so this guards against mistakes rather than attacks; yet a port specification names interfaces and
 * namespaces that will be changed, so every field is held to its form.
 */
import { type Address, parseAddress } from '../net/address.js';
import { parseCidr } from '../net/cidr.js';
import {
  type PortBandwidth,
  type PortRoute,
  type PortSpec,
  type ShadowSpec,
  type SwitchSettings,
  type TimeoutName,
  timeoutNames,
} from './protocol/desired-state.js';
import {
  type CaptureFilter,
  type FlowFilter,
  type FlowQuestion,
  type HelloRequest,
  type PublishRequest,
  type QueryName,
  type QueryRequest,
  queryNames,
  type SubscribeRequest,
} from './protocol/requests.js';
import type { SwitchRequest } from './protocol.js';

type Fields = Readonly<Record<string, unknown>>;

/** The sentence that `frame-invalid` carries. */
export class FrameInvalid extends Error {}

/** Throws FrameInvalid. `parser` is the connection's. */
export function parseRequest(frame: Fields, parser = new PortParser()): SwitchRequest {
  const id = whole(frame, 'id', 0, Number.MAX_SAFE_INTEGER);
  const type = text(frame, 'type', 64);
  switch (type) {
    case 'hello':
      return parseHello(id, frame);
    case 'publish':
      return parsePublish(id, frame, parser);
    case 'query':
      return parseQuery(id, frame);
    case 'subscribe':
      return parseSubscribe(id, frame);
    case 'unsubscribe':
      return { id, type, subscription: whole(frame, 'subscription', 0, Number.MAX_SAFE_INTEGER) };
    default:
      throw new FrameInvalid(
        `type '${type}' is none of hello, publish, query, subscribe, unsubscribe; is the client of another version?`,
      );
  }
}

function parseHello(id: number, frame: Fields): HelloRequest {
  const role = oneOf(frame, 'role', ['agent', 'observer'] as const);
  if (role === 'observer') return { id, type: 'hello', role };
  return { id, type: 'hello', role, epoch: whole(frame, 'epoch', 1, Number.MAX_SAFE_INTEGER) };
}

function parsePublish(id: number, frame: Fields, parser: PortParser): PublishRequest {
  const image = frame.image === null ? null : text(frame, 'image', 4096);
  if (image !== null && !image.startsWith('/')) throw new FrameInvalid('image is not an absolute path');
  const revision = whole(frame, 'revision', 0, Number.MAX_SAFE_INTEGER);
  const ports =
    frame.portsOf === undefined
      ? parser.parse(list(frame, 'ports'), revision)
      : parser.again(whole(frame, 'portsOf', 0, Number.MAX_SAFE_INTEGER), revision);
  return {
    id,
    type: 'publish',
    epoch: whole(frame, 'epoch', 1, Number.MAX_SAFE_INTEGER),
    revision,
    image,
    ports,
    ...(frame.settings === undefined ? {} : { settings: parseSettings(frame.settings) }),
    ...(frame.shadow === undefined ? {} : { shadow: parseShadow(object(frame.shadow, 'shadow')) }),
  };
}

function parseShadow(fields: Fields): ShadowSpec {
  const image = text(fields, 'image', 4096, 'shadow');
  if (!image.startsWith('/')) throw new FrameInvalid('shadow.image is not an absolute path');
  return { trial: whole(fields, 'trial', 1, Number.MAX_SAFE_INTEGER, 'shadow'), image };
}

function parseQuery(id: number, frame: Fields): QueryRequest {
  const what: QueryName = oneOf(frame, 'what', queryNames);
  return {
    id,
    type: 'query',
    what,
    ...(frame.port === undefined ? {} : { port: text(frame, 'port', 64) }),
    ...(frame.limit === undefined ? {} : { limit: whole(frame, 'limit', 1, 1_000_000) }),
    ...(what === 'explain' ? { flow: parseQuestion(object(frame.flow, 'flow')) } : {}),
  };
}

function parseQuestion(flow: Fields): FlowQuestion {
  const address = (key: string) => {
    const written = text(flow, key, 64, 'flow');
    const parsed = parseAddress(written);
    if (parsed === undefined) throw new FrameInvalid(`flow.${key} '${written}' is no address`);
    return parsed;
  };
  const source = address('source');
  const destination = address('destination');
  if (source.family !== destination.family)
    throw new FrameInvalid('flow.source and flow.destination are of different families');
  return {
    source: source.text,
    destination: destination.text,
    protocol: whole(flow, 'protocol', 0, 255, 'flow'),
    port: whole(flow, 'port', 0, 65_535, 'flow'),
  };
}

function parseSubscribe(id: number, frame: Fields): SubscribeRequest {
  const what = oneOf(frame, 'what', ['flows', 'capture', 'trial'] as const);
  if (what === 'trial') return { id, type: 'subscribe', what };
  const filter = frame.filter === undefined ? {} : object(frame.filter, 'filter');
  if (what === 'flows') {
    const parsed: FlowFilter = {
      ...(filter.denied === undefined ? {} : { denied: boolean(filter, 'denied') }),
      ...(filter.port === undefined ? {} : { port: text(filter, 'port', 64) }),
    };
    return { id, type: 'subscribe', what, filter: parsed };
  }
  const parsed: CaptureFilter = {
    port: text(filter, 'port', 64),
    ...(filter.drops === undefined ? {} : { drops: boolean(filter, 'drops') }),
    ...(filter.snapLength === undefined ? {} : { snapLength: whole(filter, 'snapLength', 64, 65_535) }),
  };
  return { id, type: 'subscribe', what, filter: parsed };
}

const portId = /^[A-Za-z0-9._:-]{1,64}$/;
/** The kernel's own rule for interface names (dev_valid_name), and no space. */
const interfaceName = /^(?!\.{1,2}$)[^\s/:%]{1,15}$/;
const macAddress = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/;

/**
 * The ports of one publication after the other. A port that is written as the last time is the value of the last time, and where all of them
 * are those of the publication before, so is the list.
 */
export class PortParser {
  #known: ReadonlyMap<string, PortSpec> = new Map();
  #ports: readonly PortSpec[] = [];
  /** Of the publication that they came with last; null: none has come. */
  #revision: number | null = null;

  /** Throws FrameInvalid, and then remembers what it did before. */
  parse(items: readonly unknown[], revision: number): readonly PortSpec[] {
    const known = new Map<string, PortSpec>();
    const ports = items.map((item, index) => {
      const written = JSON.stringify(item);
      const port = this.#known.get(written) ?? parsePort(item, `ports[${index}]`);
      known.set(written, port);
      return port;
    });
    const seen = new Set<string>();
    for (const { id: port } of ports) {
      if (seen.has(port)) throw new FrameInvalid(`port id '${port}' is listed twice`);
      seen.add(port);
    }
    this.#known = known;
    this.#ports = ports;
    this.#revision = revision;
    return ports;
  }

  /** The ports of the publication `of`, which has to be the one before. Throws FrameInvalid, and then remembers what it did before. */
  again(of: number, revision: number): readonly PortSpec[] {
    if (of !== this.#revision)
      throw new FrameInvalid(
        `portsOf is ${of}, but the publication before on this connection is ${this.#revision ?? 'none'}; list the ports`,
      );
    this.#revision = revision;
    return this.#ports;
  }
}

/** Throws FrameInvalid; `where` names the specification in the message. */
export function parsePort(value: unknown, where: string): PortSpec {
  const fields = object(value, where);
  const id = text(fields, 'id', 64, where);
  if (!portId.test(id)) throw new FrameInvalid(`${where}.id '${id}' is not 1 to 64 of A-Z a-z 0-9 . _ : -`);
  const ifname = text(fields, 'ifname', 15, where);
  if (!interfaceName.test(ifname))
    throw new FrameInvalid(`${where}.ifname '${ifname}' is no name for an interface`);
  const mac = text(fields, 'mac', 17, where);
  if (!macAddress.test(mac) || (Number.parseInt(mac.slice(0, 2), 16) & 1) === 1)
    throw new FrameInvalid(`${where}.mac '${mac}' is no unicast MAC address in lower case with colons`);
  const addresses = parseAddresses(fields, 'addresses', where);
  const kind = oneOf(fields, 'kind', ['pod', 'host'] as const, where);
  if (kind === 'pod' && addresses.length === 0)
    throw new FrameInvalid(`${where} is a pod without an address`);
  const netns = text(fields, 'netns', 4096, where);
  if (kind === 'pod' && !netns.startsWith('/'))
    throw new FrameInvalid(`${where}.netns is not an absolute path; a pod's port needs its namespace`);
  if (kind === 'host' && netns !== '')
    throw new FrameInvalid(`${where}.netns is not empty; the host port is in the switch's own namespace`);
  const smallest = addresses.some(({ family }) => family === 6) ? 1280 : 576;
  return {
    id,
    namespace: text(fields, 'namespace', 253, where),
    name: text(fields, 'name', 253, where),
    netns,
    ifname,
    mac,
    addresses: addresses.map((entry) => entry.text),
    mtu: whole(fields, 'mtu', smallest, 65_521, where),
    kind,
    ...(fields.bandwidth === undefined || kind === 'host'
      ? {}
      : { bandwidth: parseBandwidth(object(fields.bandwidth, `${where}.bandwidth`), `${where}.bandwidth`) }),
    ...(fields.routes === undefined || kind === 'pod'
      ? {}
      : {
          routes: list(fields, 'routes', where).map((item, index) =>
            parseRoute(item, `${where}.routes[${index}]`),
          ),
        }),
    ...(fields.sources === undefined || kind === 'pod'
      ? {}
      : { sources: parseAddresses(fields, 'sources', where).map((entry) => entry.text) }),
  };
}

function parseAddresses(fields: Fields, key: string, where: string): readonly Address[] {
  const addresses = list(fields, key, where).map((item, index) => {
    const parsed = typeof item === 'string' ? parseAddress(item) : undefined;
    if (parsed === undefined) throw new FrameInvalid(`${where}.${key}[${index}] is no IP address`);
    return parsed;
  });
  if (new Set(addresses.map(({ family }) => family)).size !== addresses.length)
    throw new FrameInvalid(`${where}.${key} has two of one family; a port has at most one of each`);
  return addresses;
}

function parseBandwidth(fields: Fields, where: string): PortBandwidth {
  const bandwidth: Record<string, number> = {};
  for (const name of ['ingressRate', 'ingressBurst', 'egressRate', 'egressBurst'] as const)
    if (fields[name] !== undefined) bandwidth[name] = whole(fields, name, 1, Number.MAX_SAFE_INTEGER, where);
  return bandwidth;
}

function parseRoute(value: unknown, where: string): PortRoute {
  const fields = object(value, where);
  const destination = text(fields, 'destination', 64, where);
  const block = parseCidr(destination);
  if (block === undefined)
    throw new FrameInvalid(`${where}.destination '${destination}' is no address block`);
  // The kernel refuses host bits: the block's own text has none.
  const { text: network, family } = block.cidr;
  if (fields.source === undefined) return { destination: network };
  const source = text(fields, 'source', 64, where);
  if (parseAddress(source)?.family !== family)
    throw new FrameInvalid(`${where}.source '${source}' is no address of the destination's family`);
  return { destination: network, source };
}

/** Throws FrameInvalid, unless `leftOut` is given: it is told what cannot be taken, and the rest counts. */
export function parseSettings(value: unknown, leftOut?: (sentence: string) => void): SwitchSettings {
  const taken = <Value>(parse: () => Value): Value | undefined => {
    try {
      return parse();
    } catch (error) {
      if (leftOut === undefined || !(error instanceof FrameInvalid)) throw error;
      leftOut(error.message);
      return undefined;
    }
  };
  const fields = taken(() => object(value, 'settings')) ?? {};
  const numbers = [
    'connectionsPerPort',
    'fragmentsPerPort',
    'answersPerSecond',
    'flowSampling',
    'flowEventsPerSecond',
  ] as const;
  const settings: Record<string, unknown> = {};
  for (const name of numbers) {
    if (fields[name] === undefined) continue;
    const number = taken(() => whole(fields, name, 0, 0xffff_ffff, 'settings'));
    if (number !== undefined) settings[name] = number;
  }
  if (fields.timeouts !== undefined) {
    const given = taken(() => object(fields.timeouts, 'settings.timeouts')) ?? {};
    const timeouts: Partial<Record<TimeoutName, number>> = {};
    for (const [name, seconds] of Object.entries(given)) {
      const timeout = taken(() => parseTimeout(name, seconds));
      if (timeout !== undefined) timeouts[timeout.name] = timeout.seconds;
    }
    settings.timeouts = timeouts;
  }
  return settings as SwitchSettings;
}

function parseTimeout(name: string, seconds: unknown): { name: TimeoutName; seconds: number } {
  const known = timeoutNames.find((one) => one === name);
  if (known === undefined)
    throw new FrameInvalid(`settings.timeouts.${name} is none of ${timeoutNames.join(', ')}`);
  if (typeof seconds !== 'number' || !(seconds > 0 && seconds <= 31_536_000))
    throw new FrameInvalid(`settings.timeouts.${name} is not between 0 and 31536000 seconds`);
  return { name: known, seconds };
}

// ---- fields ----

function object(value: unknown, where: string): Fields {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Fields;
  throw new FrameInvalid(`${where} is not an object`);
}

const path = (where: string, key: string) => (where === '' ? key : `${where}.${key}`);

function list(fields: Fields, key: string, where = ''): readonly unknown[] {
  const value = fields[key];
  if (Array.isArray(value)) return value;
  throw new FrameInvalid(`${path(where, key)} is not a list`);
}

function text(fields: Fields, key: string, maximum: number, where = ''): string {
  const value = fields[key];
  if (typeof value !== 'string') throw new FrameInvalid(`${path(where, key)} is not a string`);
  // A zero byte would end a path or a name early on its way through C.
  if (Buffer.byteLength(value) > maximum || value.includes('\0'))
    throw new FrameInvalid(`${path(where, key)} is longer than ${maximum} bytes or has a zero byte`);
  return value;
}

function whole(fields: Fields, key: string, minimum: number, maximum: number, where = ''): number {
  const value = fields[key];
  if (typeof value === 'number' && Number.isInteger(value) && value >= minimum && value <= maximum)
    return value;
  throw new FrameInvalid(`${path(where, key)} is not a whole number from ${minimum} to ${maximum}`);
}

function boolean(fields: Fields, key: string): boolean {
  const value = fields[key];
  if (typeof value === 'boolean') return value;
  throw new FrameInvalid(`${key} is neither true nor false`);
}

function oneOf<Name extends string>(fields: Fields, key: string, names: readonly Name[], where = ''): Name {
  const value = fields[key];
  if (typeof value === 'string' && (names as readonly string[]).includes(value)) return value as Name;
  throw new FrameInvalid(`${path(where, key)} is none of ${names.join(', ')}`);
}
