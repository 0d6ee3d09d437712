/**
 * The network configuration that a call brings on standard input (specification 1.1.0, section 3), as one value.
 *
 * ADD and STATUS are strict: a field that weft does not know may be a misspelt one whose default then rules, so it is refused with its name
 * (code 2). DEL takes whatever lets it know the container: what cannot be read must not keep an address from being released.
 */
import { closestName } from '../errors/closest.js';
import type { CniArguments } from './arguments.js';
import { type Capabilities, readCapabilities } from './capabilities.js';
import { type CniCommand, firstVersionOf } from './environment.js';
import { CniFailure, cniCodes } from './failure.js';
import {
  type Fields,
  fieldOf,
  neededText,
  objectAt,
  optionalCount,
  optionalList,
  optionalObject,
  optionalText,
  wrongType,
  wrongValue,
} from './fields.js';
import { type CniDns, type CniResult, readDns, readResult } from './result.js';
import { atLeast, type CniVersion, cniVersions, isCniVersion } from './version.js';

/** Fields that weft gives a meaning, with what it is. `config/` has an example. */
export const ownFields = {
  runDir: "The agent's run directory; /run/weft where it is left out.",
  connectTimeout:
    'Milliseconds that the plugin waits for an agent that is not there, STATUS five times as long; 2000.',
  answerTimeout: "Milliseconds that the plugin waits for the agent's answer; 90000.",
  mtu: 'Bytes; network.mtu of the agent where it is left out.',
  namespace: 'The namespace of containers that are no Kubernetes pods; "containers".',
  dns: 'Goes into the result as it is.',
} as const;

/** Fields of the specification that a configuration or a runtime brings. */
const standardFields: ReadonlySet<string> = new Set([
  'cniVersion',
  'cniVersions',
  'name',
  'type',
  'capabilities',
  'runtimeConfig',
  'args',
  'prevResult',
  'disableCheck',
  'disableGC',
  'loadOnlyInlinedPlugins',
]);

/** Fields with a meaning that weft does not give them: addresses and masquerading are the agent's configuration. */
const refused: Readonly<Record<string, (value: unknown) => boolean>> = {
  ipam: (value) => typeof value !== 'object' || value === null || Object.keys(value).length > 0,
  ipMasq: (value) => value !== false,
};

export interface ValidAttachment {
  readonly containerId: string;
  readonly ifname: string;
}

export interface NetworkConfiguration {
  readonly version: CniVersion;
  readonly name: string;
  /** Milliseconds that the plugin waits for the answer. */
  readonly answerTimeout: number;
  readonly namespace: string;
  readonly mtu?: number;
  readonly dns: CniDns;
  readonly capabilities: Capabilities;
  readonly previous?: CniResult;
  /** GC only. */
  readonly valid: readonly ValidAttachment[];
}

const noCapabilities: Capabilities = { portMappings: [], ips: [], labels: {} };
const defaultAnswerTimeout = 90_000;

/** The version of a configuration as far as it can be read: what an error about the rest of it is told in. */
export function versionIn(text: string): CniVersion | undefined {
  try {
    const value = (JSON.parse(text) as { cniVersion?: unknown } | null)?.cniVersion;
    return isCniVersion(value) ? value : undefined;
  } catch {
    const named = /"cniVersion"\s*:\s*"([0-9.]+)"/.exec(text)?.[1];
    return isCniVersion(named) ? named : undefined;
  }
}

/** Throws codes 1, 2, 6 and 7 with the field's name. */
export function readConfiguration(
  text: string,
  command: CniCommand,
  given: CniArguments = {},
): NetworkConfiguration {
  const fields = decode(text);
  const version = readVersion(fields, command);
  const name = neededText(fields, 'name', 'name');
  if (!/^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/.test(name))
    throw wrongValue('name', name, 'a letter or digit, then letters, digits, underscores, dots and hyphens');
  const head = {
    version,
    name,
    answerTimeout: defaultAnswerTimeout,
    namespace: 'containers',
    dns: {},
    valid: [],
  };
  if (command === 'DEL') return { ...head, capabilities: noCapabilities };
  if (command === 'GC') return { ...head, capabilities: noCapabilities, valid: readValid(fields) };
  if (command === 'ADD' || command === 'STATUS') refuseUnsupported(fields);
  const namespace = optionalText(fields, 'namespace', 'namespace') ?? 'containers';
  if (!/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(namespace))
    throw wrongValue('namespace', namespace, 'the name of a namespace');
  const mtu = optionalCount(fields, 'mtu', 'mtu');
  if (mtu !== undefined && mtu !== 0 && (mtu < 576 || mtu > 65521))
    throw wrongValue('mtu', mtu, 'a number of bytes from 576 to 65521, or 0 for the default');
  const raw = optionalObject(fields, 'prevResult', 'prevResult');
  if (command === 'CHECK' && raw === undefined) throw wrongValue('prevResult', undefined, 'given for CHECK');
  return {
    ...head,
    answerTimeout: optionalCount(fields, 'answerTimeout', 'answerTimeout') ?? defaultAnswerTimeout,
    namespace,
    ...(mtu === undefined || mtu === 0 ? {} : { mtu }),
    dns: readDns(fields, 'dns'),
    capabilities: command === 'ADD' ? readCapabilities(fields, given) : noCapabilities,
    ...(raw === undefined ? {} : { previous: readPrevious(raw) }),
  };
}

function decode(text: string): Fields {
  try {
    return objectAt(JSON.parse(text), 'at the top');
  } catch (error) {
    if (error instanceof CniFailure) throw error;
    throw new CniFailure(
      cniCodes.decodingFailure,
      'the network configuration cannot be decoded',
      `It is no JSON: ${(error as Error).message}`,
    );
  }
}

function readVersion(fields: Fields, command: CniCommand): CniVersion {
  const given = fieldOf(fields, 'cniVersion');
  if (given !== undefined && typeof given !== 'string') throw wrongType('cniVersion', 'text');
  const since = firstVersionOf(command);
  if (isCniVersion(given) && atLeast(given, since)) return given;
  throw new CniFailure(
    cniCodes.incompatibleVersion,
    'incompatible CNI version',
    isCniVersion(given)
      ? `${command} exists from ${since} on, and the configuration has cniVersion ${given}.`
      : `The configuration has ${given === undefined ? 'no cniVersion' : `cniVersion ${JSON.stringify(given)}`}; weft speaks ${cniVersions.join(', ')}.`,
  );
}

function refuseUnsupported(fields: Fields): void {
  for (const [name, value] of Object.entries(fields)) {
    // Keys with a domain (`cni.dev/…`) are the runtime's business.
    if (standardFields.has(name) || Object.hasOwn(ownFields, name) || name.includes('/')) continue;
    if (Object.hasOwn(refused, name) && !refused[name]!(value)) continue;
    const meant = Object.hasOwn(refused, name) ? null : closestName(name, Object.keys(ownFields));
    throw new CniFailure(
      cniCodes.unsupportedField,
      `unsupported field ${JSON.stringify(name)} in the network configuration`,
      `${JSON.stringify(name)} is ${JSON.stringify(value)?.slice(0, 200)}. ${
        Object.hasOwn(refused, name)
          ? "Addresses and masquerading are set in the agent's configuration."
          : meant === null
            ? 'weft does not know it.'
            : `Is ${meant} meant?`
      }`,
    );
  }
}

/** A result names its version; where it does not, its shape tells. */
function readPrevious(raw: Fields): CniResult {
  const version = fieldOf(raw, 'cniVersion');
  if (version !== undefined && !isCniVersion(version))
    throw new CniFailure(
      cniCodes.incompatibleVersion,
      'incompatible CNI version',
      `prevResult.cniVersion is ${JSON.stringify(version)}; weft speaks ${cniVersions.join(', ')}.`,
    );
  return readResult(raw, 'prevResult');
}

/** Some runtimes write the older of the two names that the field has had. */
function readValid(fields: Fields): readonly ValidAttachment[] {
  const name = ['cni.dev/valid-attachments', 'cni.dev/attachments'].find(
    (one) => fieldOf(fields, one) !== undefined,
  );
  // Without the list nothing can be told from garbage: taking everything for it would cut every pod off.
  if (name === undefined) throw wrongValue('cni.dev/valid-attachments', undefined, 'given for GC');
  return optionalList(fields, name, name).map((value, index) => {
    const at = `${name}[${index}]`;
    const entry = objectAt(value, at);
    return {
      containerId: neededText(entry, 'containerID', `${at}.containerID`),
      ifname: neededText(entry, 'ifname', `${at}.ifname`),
    };
  });
}
