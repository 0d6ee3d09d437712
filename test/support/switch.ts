/** A switch of the addon for tests: small, with the product's defaults otherwise. */
import type { Addon, NativeSwitch, SwitchLimits } from '../../src/dataplane/addon.js';

export const testLimits: SwitchLimits = {
  workers: 1,
  maximumPorts: 256,
  maximumConnections: 16_384,
  busyPollMicroseconds: 0,
  drainFrames: 64,
  drainMicroseconds: 500,
  scheduling: 'normal',
  nice: 0,
  cores: [],
  fragmentedPackets: 1024,
  fragmentedPacketsPerPort: 256,
  heldFragments: 512,
  heldFragmentsPerPort: 128,
  affinityClients: 1024,
  flowRing: 8192,
  coalesceUdp: true,
  queueLength: 1000,
  queueDiscipline: 'noqueue',
  sysctl: '/proc/sys',
};

export function openTestSwitch(addon: Addon, runDirectory: string): NativeSwitch {
  return new addon.Switch({ ...testLimits, runDirectory, supervisorDescriptor: -1, settings: {} });
}
