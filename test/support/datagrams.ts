/**
 * Datagrams of one flow to a server that answers each: ADDRESS PORT MILLISECONDS FILE. Sends one every so many milliseconds until the file is
 * there, waits for what is under way, and prints {sent, answered, longestSilence}. Run inside of a pod's network namespace.
 */
import { createSocket } from 'node:dgram';
import { existsSync } from 'node:fs';

const [address = '', port = '', every = '', file = ''] = process.argv.slice(2);
/** For answers to what was sent last. Milliseconds. */
const patience = 3000;

const socket = createSocket('udp4');
let sent = 0;
let answered = 0;
let longestSilence = 0;
let heard = performance.now();
socket.on('message', () => {
  answered++;
  longestSilence = Math.max(longestSilence, Math.round(performance.now() - heard));
  heard = performance.now();
});
// A switch that is away has no carrier: what the kernel refuses to send is lost like any other.
socket.on('error', () => {});
socket.connect(Number(port), address, () => {
  const sending = setInterval(() => {
    if (!existsSync(file)) {
      sent++;
      socket.send('count', () => {});
      return;
    }
    clearInterval(sending);
    const until = performance.now() + patience;
    const waiting = setInterval(() => {
      if (answered < sent && performance.now() < until) return;
      clearInterval(waiting);
      socket.close();
      process.stdout.write(`${JSON.stringify({ sent, answered, longestSilence })}\n`);
    }, 10);
  }, Number(every));
});
