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
    timeouts: { icmp: seconds(timeouts.icmp), other: seconds(timeouts.other) },
  };
}
