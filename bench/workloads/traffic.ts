/**
 * The load generator `weft-traffic` between the two pods of a contender: a server in the one, a client in the other, both new for every
 * sample, so that no sample begins with what another has left in a socket. The same program drives every contender.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../src/dataplane/package-root.js';
import { allowedPorts, type Running } from '../contenders/contender.js';
import { Program, run } from '../contenders/site.js';
import { withoutHalts } from './halt-poll.js';

/** `deploy/build.sh bench` makes it. */
export const trafficProgram = join(packageRoot(), 'build/bench/weft-traffic');

/** The server listens here for its clients' requests; always at the pod's own address. */
const controlPort = allowedPorts.first;
/** Where the traffic goes; with a window, acknowledgements use the next one. */
export const dataPort = allowedPorts.first + 1;

/** Seconds of traffic before the measurement begins: TCP's window has opened, tables and caches hold the flow. */
const warmSeconds = 0.2;

export interface TrafficOptions {
  /** Send to the virtual address instead of the pod's. */
  readonly service?: boolean;
  /** Run client and server on this processor only; absent: wherever the kernel puts them. */
  readonly processor?: number;
  /** Put in front of the server's and of the client's command: a program that replaces itself by the rest. */
  readonly serverPrefix?: readonly string[];
  readonly clientPrefix?: readonly string[];
}

/**
 * One run of `weft-traffic MODE ARGUMENTS…`: the numbers of the line that the client prints. Throws with what client or server said when
 * either fails.
 */
export async function traffic(
  running: Running,
  mode: string,
  args: Readonly<Record<string, number>>,
  seconds: number,
  options: TrafficOptions = {},
): Promise<Readonly<Record<string, number>>> {
  if (!existsSync(trafficProgram))
    throw new Error(`${trafficProgram} is missing; \`bash deploy/build.sh bench\` builds it`);
  const to = options.service === true ? running.clusterIP?.ipv4 : running.server.ipv4;
  if (to === undefined) throw new Error('this contender has no virtual address');
  const pinned = options.processor === undefined ? {} : { cpu: options.processor };
  const serve = [
    trafficProgram,
    'serve',
    ...optionWords({ port: controlPort, seconds: Math.ceil(seconds) + 120, ...pinned }),
  ];
  const words = optionWords({
    to,
    control: running.server.ipv4,
    port: controlPort,
    'data-port': dataPort,
    warm: Math.min(warmSeconds, seconds),
    seconds,
    ...pinned,
    ...args,
  });
  const [serverCommand, ...serverArgs] = [...(options.serverPrefix ?? []), ...serve] as [string, ...string[]];
  const [clientCommand, ...clientArgs] = [
    ...(options.clientPrefix ?? []),
    trafficProgram,
    mode,
    ...words,
  ] as [string, ...string[]];
  const server = await Program.start(serverCommand, serverArgs, {
    netns: running.server.netns,
    ready: /"listening"/,
  });
  try {
    return parseTraffic(
      await withoutHalts(() => run(clientCommand, clientArgs, { netns: running.client.netns })),
    );
  } catch (error) {
    const said = server.said
      .split('\n')
      .filter((line) => line !== '' && !line.includes('"listening"'))
      .join('; ');
    if (said === '') throw error;
    throw new Error(`${error instanceof Error ? error.message : String(error)}; the server: ${said}`);
  } finally {
    // Nothing of it is worth a farewell; its sessions die with it.
    await server.end('SIGKILL');
  }
}

function optionWords(options: Readonly<Record<string, number | string>>): string[] {
  return Object.entries(options).flatMap(([name, value]) => [`--${name}`, `${value}`]);
}

/** The client's line: one JSON object of finite numbers, its rate above 0. Throws with the line when it is anything else. */
export function parseTraffic(printed: string): Readonly<Record<string, number>> {
  const line = printed.trim();
  let parsed: unknown;
  try {
    parsed = JSON.parse(line);
  } catch {
    throw new Error(`weft-traffic printed no JSON: ${line.slice(0, 200)}`);
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed))
    throw new Error(`weft-traffic printed no object: ${line.slice(0, 200)}`);
  const values: Record<string, number> = {};
  for (const [name, value] of Object.entries(parsed)) {
    if (typeof value !== 'number' || !Number.isFinite(value))
      throw new Error(`weft-traffic printed ${name} = ${JSON.stringify(value)}, which is no number`);
    values[name] = value;
  }
  if (!(values.rate !== undefined && values.rate > 0))
    throw new Error(`weft-traffic measured nothing: ${line.slice(0, 200)}`);
  return values;
}

/** The values of these names; throws where one is missing. */
export function pick(
  values: Readonly<Record<string, number>>,
  names: readonly string[],
): Readonly<Record<string, number>> {
  return Object.fromEntries(
    names.map((name) => {
      const value = values[name];
      if (value === undefined) throw new Error(`weft-traffic printed no ${name}`);
      return [name, value];
    }),
  );
}

/** For `unsuited`: a contender without a ClusterIP on the data port. */
export function serviceMissing(running: Running): string | null {
  if (running.clusterIP === undefined) return 'it has no ClusterIP';
  return running.clusterIP.ports.includes(dataPort) ? null : `its ClusterIP has no port ${dataPort}`;
}
