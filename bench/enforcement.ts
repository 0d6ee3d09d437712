/**
 * Shows what a contender does with a port that is allowed and with one that is not, before anything is timed: the server pod listens on both
 * over TCP and UDP, the client pod tries all four. A refusal and silence are both a denial; what counts is that the listener, which answers
 * in its own namespace at the same moment, does not answer the client.
 */
import { allowedPorts, type Contender, deniedPort, type Running } from './contenders/contender.js';
import { Program, run } from './contenders/site.js';

export type Enforcement = 'denied' | 'no policies';

const allowedPort = allowedPorts.first;
/** Milliseconds until silence is a denial; long enough for a SYN to be sent again after one second. */
const silence = 1_500;

/** Listens on both ports, answers UDP with what came. Says `ready` when all four are bound. */
const listener = `
const net = require('node:net'), dgram = require('node:dgram');
const bound = process.argv.slice(1).flatMap(Number).flatMap((port) => {
  const tcp = net.createServer((socket) => socket.on('error', () => {}).end('ok')).listen(port, '0.0.0.0');
  const udp = dgram.createSocket('udp4');
  udp.on('message', (words, from) => udp.send(words, from.port, from.address)).bind(port);
  return [new Promise((done) => tcp.on('listening', done)), new Promise((done) => udp.on('listening', done))];
});
Promise.all(bound).then(() => console.log('ready'));
`;

/** Tries TCP and UDP; prints what answered: {"tcp 5000": true, ...}. UDP is sent every 100 ms: one datagram may be lost without meaning. */
const prober = `
const net = require('node:net'), dgram = require('node:dgram');
const [address, silence, ...ports] = process.argv.slice(1);
const answers = {};
const tries = ports.flatMap((port) => [
  new Promise((done) => {
    const socket = net.connect(Number(port), address);
    const end = (answered) => { answers['tcp ' + port] = answered; socket.destroy(); done(); };
    socket.on('data', () => end(true)).on('error', () => end(false)).on('end', () => end(false));
    setTimeout(() => end(answers['tcp ' + port] ?? false), Number(silence));
  }),
  new Promise((done) => {
    const socket = dgram.createSocket('udp4');
    const again = setInterval(() => socket.send('?', Number(port), address, () => {}), 100);
    const end = (answered) => { answers['udp ' + port] = answered; clearInterval(again); clearTimeout(late); socket.close(); done(); };
    const late = setTimeout(() => end(false), Number(silence));
    socket.on('error', () => {}).on('message', () => end(true));
    socket.send('?', Number(port), address, () => {});
  }),
]);
Promise.all(tries).then(() => { console.log(JSON.stringify(answers)); process.exit(0); });
`;

async function probe(netns: string, address: string): Promise<Readonly<Record<string, boolean>>> {
  const args = [address, silence, allowedPort, deniedPort].map(String);
  return JSON.parse(await run(process.execPath, ['-e', prober, '--', ...args], { netns }));
}

/** Throws when an allowed port does not answer, or a denied one does although the contender enforces. */
export async function showEnforcement(contender: Contender, running: Running): Promise<Enforcement> {
  const { client, server } = running;
  const ports = [allowedPort, deniedPort].map(String);
  const listening = await Program.start(process.execPath, ['-e', listener, '--', ...ports], {
    netns: server.netns,
    ready: /^ready$/m,
  });
  try {
    const at = await probe(server.netns, '127.0.0.1');
    const deaf = Object.keys(at).filter((port) => !at[port]);
    if (deaf.length > 0) throw new Error(`the listener itself does not answer: ${deaf.join(', ')}`);
    return judgeProbe(contender, await probe(client.netns, server.ipv4));
  } finally {
    await listening.end();
  }
}

/** `answers`: `tcp 5000` → whether the server answered there. */
export function judgeProbe(
  contender: Pick<Contender, 'enforces' | 'policies'>,
  answers: Readonly<Record<string, boolean>>,
): Enforcement {
  const enforces = contender.enforces && contender.policies > 0;
  const wrong: string[] = [];
  for (const [port, answered] of Object.entries(answers)) {
    const denied = enforces && port.endsWith(` ${deniedPort}`);
    if (answered === denied) wrong.push(`${port} ${answered ? 'answers' : 'does not answer'}`);
  }
  if (wrong.length > 0 || Object.keys(answers).length !== 4)
    throw new Error(`${enforces ? 'does not enforce its policies' : 'does not connect its pods'}: ${wrong}`);
  return enforces ? 'denied' : 'no policies';
}
