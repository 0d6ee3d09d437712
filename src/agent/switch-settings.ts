/** The options that the agent publishes to the switch, in the units of its protocol. */
import type { Config } from '../config/options.js';
import type { SwitchSettings, TimeoutName } from '../dataplane/protocol/desired-state.js';

export function switchSettings(config: Config): SwitchSettings {
  const { connections, fragments, answersPerSecond, flows } = config.switch;
  const { tcp, udp, sctp, icmp, other } = connections.timeouts;
  const microseconds: Readonly<Record<TimeoutName, number>> = {
    'tcp-syn-sent': tcp.synSent,
    'tcp-syn-received': tcp.synReceived,
    'tcp-established': tcp.established,
    'tcp-picked-up': tcp.pickedUp,
    'tcp-fin-wait': tcp.finWait,
    'tcp-closing': tcp.closing,
    'tcp-time-wait': tcp.timeWait,
    'tcp-closed': tcp.closed,
    'udp-unreplied': udp.unreplied,
    'udp-replied': udp.replied,
    'udp-stream': udp.stream,
    'sctp-handshake': sctp.handshake,
    'sctp-established': sctp.established,
    'sctp-picked-up': sctp.pickedUp,
    'sctp-shutdown': sctp.shutdown,
    'sctp-closed': sctp.closed,
    icmp,
    'other-unreplied': other.unreplied,
    'other-replied': other.replied,
  };
  const timeouts = Object.fromEntries(
    Object.entries(microseconds).map(([name, value]) => [name, value / 1_000_000]),
  ) as Record<TimeoutName, number>;
  return {
    connectionsPerPort: connections.quotaPerPort,
    fragmentsPerPort: fragments.packetsPerPort,
    answersPerSecond,
    flowSampling: flows.sampleAllowed,
    flowEventsPerSecond: flows.perPort,
    timeouts,
  };
}
