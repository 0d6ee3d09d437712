/** The options that the switch takes over while it runs, in the units of its protocol. */
import type { Config } from '../config/options.js';
import type { SwitchSettings } from '../dataplane/protocol.js';

const seconds = (microseconds: number): number => microseconds / 1_000_000;

export function switchSettings(config: Config): SwitchSettings {
  const { connections, fragments, rateLimits, flows } = config.switch;
  const { timeouts } = connections;
  return {
    connectionsPerPort: connections.quotaPerPort,
    fragmentsPerPort: fragments.quotaPerPort,
    answersPerSecond: rateLimits.icmp,
    flowSampling: flows.sampleAllowed,
    flowEventsPerSecond: flows.perPort,
    timeouts: {
      'tcp-syn-sent': seconds(timeouts.tcp.synSent),
      'tcp-syn-received': seconds(timeouts.tcp.synReceived),
      'tcp-established': seconds(timeouts.tcp.established),
      'tcp-picked-up': seconds(timeouts.tcp.pickedUp),
      'tcp-fin-wait': seconds(timeouts.tcp.finWait),
      'tcp-closing': seconds(timeouts.tcp.lastAck),
      'tcp-time-wait': seconds(timeouts.tcp.timeWait),
      'tcp-closed': seconds(timeouts.tcp.close),
      'udp-unreplied': seconds(timeouts.udp.unreplied),
      'udp-stream': seconds(timeouts.udp.replied),
      'sctp-handshake': seconds(timeouts.sctp.opening),
      'sctp-established': seconds(timeouts.sctp.established),
      'sctp-shutdown': seconds(timeouts.sctp.closing),
      icmp: seconds(timeouts.icmp),
      'other-replied': seconds(timeouts.other),
    },
  };
}
