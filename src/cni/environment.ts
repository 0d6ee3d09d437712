/** The environment of a call: `CNI_COMMAND` and what it needs. The plugin has checked it; here it becomes a value. */
import { type CniArguments, readArguments } from './arguments.js';
import { CniFailure, cniCodes } from './failure.js';
import type { CniVersion } from './version.js';

export type CniCommand = 'ADD' | 'DEL' | 'CHECK' | 'GC' | 'STATUS';

interface Needs {
  readonly container: boolean;
  readonly netns: boolean;
  /** The oldest version that has the command. */
  readonly since: CniVersion;
}

const commands: Readonly<Record<CniCommand, Needs>> = {
  ADD: { container: true, netns: true, since: '0.3.0' },
  DEL: { container: true, netns: false, since: '0.3.0' },
  CHECK: { container: true, netns: true, since: '0.4.0' },
  GC: { container: false, netns: false, since: '1.1.0' },
  STATUS: { container: false, netns: false, since: '1.1.0' },
};

export interface CniEnvironment {
  readonly command: CniCommand;
  /** '' for GC and STATUS. */
  readonly containerId: string;
  /** '' where there is none (DEL of a namespace that is gone). */
  readonly netns: string;
  readonly ifname: string;
  readonly arguments: CniArguments;
}

/** Throws code 4 with the names of what is missing or not valid. */
export function readEnvironment(variables: Readonly<Record<string, unknown>>): CniEnvironment {
  const text = (name: string): string => {
    const value = Object.hasOwn(variables, name) ? variables[name] : '';
    return typeof value === 'string' ? value : '';
  };
  const command = text('CNI_COMMAND');
  const needs = Object.hasOwn(commands, command) ? commands[command as CniCommand] : undefined;
  if (needs === undefined) throw invalidVariable('CNI_COMMAND', command, 'ADD, DEL, CHECK, GC or STATUS');
  const found = {
    containerId: text('CNI_CONTAINERID'),
    netns: text('CNI_NETNS'),
    ifname: text('CNI_IFNAME'),
  };
  const missing = [
    ...(needs.container && found.containerId === '' ? ['CNI_CONTAINERID'] : []),
    ...(needs.netns && found.netns === '' ? ['CNI_NETNS'] : []),
    ...(needs.container && found.ifname === '' ? ['CNI_IFNAME'] : []),
  ];
  if (missing.length > 0)
    throw new CniFailure(
      cniCodes.invalidEnvironment,
      `required environment variables are missing: ${missing.join(', ')}`,
      `${command} needs them.`,
    );
  if (!needs.container)
    return { command: command as CniCommand, containerId: '', netns: '', ifname: '', arguments: {} };
  if (!/^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/.test(found.containerId))
    throw invalidVariable(
      'CNI_CONTAINERID',
      found.containerId,
      'a letter or digit, then letters, digits, underscores, dots and hyphens',
    );
  if (!isInterfaceName(found.ifname))
    throw invalidVariable(
      'CNI_IFNAME',
      found.ifname,
      'an interface name of at most 15 bytes without /, : and spaces',
    );
  if (command === 'ADD' && !found.netns.startsWith('/'))
    throw invalidVariable('CNI_NETNS', found.netns, 'an absolute path');
  return {
    command: command as CniCommand,
    ...found,
    // Only ADD gives them a meaning; DEL and CHECK go by the container.
    arguments: command === 'ADD' ? readArguments(text('CNI_ARGS')) : {},
  };
}

export function firstVersionOf(command: CniCommand): CniVersion {
  return commands[command].since;
}

function isInterfaceName(name: string): boolean {
  return name !== '.' && name !== '..' && /^[^/:\s]+$/.test(name) && Buffer.byteLength(name) <= 15;
}

export function invalidVariable(name: string, value: string, allowed: string): CniFailure {
  return new CniFailure(
    cniCodes.invalidEnvironment,
    `invalid environment variable ${name}`,
    `${name} is ${JSON.stringify(value.slice(0, 200))}; it has to be ${allowed}.`,
  );
}
