/** `weft capture`: packets of a pod out of the switch, as text or as a pcapng file; each says what was decided and by which rule. */
import { createWriteStream } from 'node:fs';
import { type Command, Option } from 'commander';
import type { PacketRecord } from '../../agent/protocol/events.js';
import { WeftError } from '../../errors/problem.js';
import { pcapngHeader, pcapngPacket } from '../../telemetry/pcapng.js';
import { type AgentOptions, untilInterrupted, withAgentOptions, withPodAgent } from '../connect.js';
import { summarise } from '../frame-summary.js';
import { parsePodName, print } from '../output.js';
import { wholeNumber } from './conntrack.js';

interface CaptureOptions extends AgentOptions {
  readonly drops?: true;
  readonly json?: true;
  readonly write?: string;
  readonly count?: number;
  readonly snapLength: number;
}

export function register(program: Command): void {
  withAgentOptions(
    program
      .command('capture')
      .description('Capture packets of a pod in the switch, with verdict, policy and rule of each.')
      .argument('<pod>', '[NAMESPACE/]POD')
      .option('--drops', 'only packets that were dropped')
      .option('-w, --write <file>', 'write pcapng (Wireshark, tcpdump -r); - for standard output')
      .option('-c, --count <packets>', 'end after this many', wholeNumber)
      .addOption(new Option('--json', 'print JSON, one packet a line').conflicts('write'))
      .option('-s, --snap-length <bytes>', 'keep this much of each packet', wholeNumber, 65_535),
  ).action(capture);
}

async function capture(podName: string, options: CaptureOptions): Promise<void> {
  const pod = parsePodName(podName);
  const sink = await openSink(options, podName);
  let packets = 0;
  await withPodAgent(options, pod, async (agent) => {
    const request = {
      type: 'capture' as const,
      ...pod,
      drops: options.drops === true,
      snapLength: options.snapLength,
      ...(options.count === undefined ? {} : { count: options.count }),
    };
    await untilInterrupted(agent, () =>
      agent.subscribe(request, (event) => {
        if (event.event === 'lost') process.stderr.write(`(${event.count} packets are missing here)\n`);
        if (event.event !== 'packet') return;
        packets++;
        sink.packet(event.packet);
      }),
    );
  }).finally(() => sink.close());
  process.stderr.write(`${packets} packets\n`);
}

interface Sink {
  packet(packet: PacketRecord): void;
  close(): Promise<void>;
}

async function openSink(options: CaptureOptions, podName: string): Promise<Sink> {
  if (options.write === undefined)
    return {
      packet: (packet) => print(`${options.json === true ? JSON.stringify(packet) : formatPacket(packet)}\n`),
      close: async () => {},
    };
  const header = pcapngHeader('weft', podName, options.snapLength);
  const toBlock = (packet: PacketRecord) =>
    pcapngPacket({
      time: BigInt(packet.time),
      data: Buffer.from(packet.data, 'base64'),
      length: packet.length,
      direction: packet.direction,
      comment: describeVerdict(packet),
    });
  if (options.write === '-') {
    if (process.stdout.isTTY)
      throw new WeftError(
        'usage',
        'pcapng is binary: send it to a file or a pipe, such as `| tcpdump -r -`.',
      );
    process.stdout.write(header);
    return { packet: (packet) => process.stdout.write(toBlock(packet)), close: async () => {} };
  }
  const file = createWriteStream(options.write, { mode: 0o600 });
  await new Promise<void>((resolve, reject) => {
    file.once('open', () => resolve());
    file.once('error', (error: NodeJS.ErrnoException) =>
      reject(
        new WeftError('capture-write', `${options.write} cannot be written (${error.code}).`, {
          cause: error,
        }),
      ),
    );
  });
  file.write(header);
  return {
    packet: (packet) => file.write(toBlock(packet)),
    close: () => new Promise((resolve) => file.end(() => resolve())),
  };
}

/** What goes into a packet's comment: `allowed by egress shop/web[0], ingress shop/db[1]`, `denied: policy-ingress`. */
export function describeVerdict(
  packet: Pick<PacketRecord, 'verdict' | 'reason' | 'rules' | 'answered'>,
): string {
  const rules = packet.rules
    .map(({ policy, direction, rule }) => `${direction} ${policy}[${rule}]`)
    .join(', ');
  const made = packet.answered === true ? ' (made by the switch)' : '';
  if (packet.verdict !== 'allowed') return `${packet.verdict}: ${packet.reason ?? ''}${made}`;
  return `allowed${rules === '' ? '' : ` by ${rules}`}${made}`;
}

/** One line a packet. */
export function formatPacket(packet: PacketRecord): string {
  const milliseconds = Number(BigInt(packet.time) / 1_000_000n);
  const time = new Date(milliseconds).toISOString().slice(11, 23);
  const arrow = packet.direction === 'egress' ? '->' : '<-';
  return `${time} ${arrow} ${summarise(Buffer.from(packet.data, 'base64'))} length ${packet.length}: ${describeVerdict(packet)}`;
}
