/** What the agent does again and again, because no event tells it that it is necessary. */
import type { Host } from '../host/host.js';
import type { Logger } from '../telemetry/log.js';
import type { Agent } from './agent.js';
import type { CniUpkeep } from './cni-upkeep.js';
import type { PodEvents } from './pod-events.js';
import type { RunFolder } from './run-folder.js';

/** Milliseconds. */
const reconcileEvery = 30_000;
const glanceEvery = 1000;
const tellEvery = 5000;
/** A pod whose namespace has been gone for so long is not coming to its DEL any more. Milliseconds. */
const goneGrace = 60_000;

export interface UpkeepParts {
  readonly agent: Agent;
  /** null: this agent does not set up the host. */
  readonly host: Host | null;
  readonly cni: CniUpkeep;
  readonly folder: RunFolder;
  /** null: there is no API that could take them. */
  readonly podEvents: PodEvents | null;
  readonly log: Logger;
}

/** Returns how to stop. */
export function startUpkeep({ agent, host, cni, folder, podEvents, log }: UpkeepParts): () => void {
  const failed = (what: string) => (error: Error) => log.warn({ error: error.message }, `${what} failed`);
  const timers = [
    setInterval(() => {
      agent.refreshNode();
      cni.keep();
      host?.reconcile().catch(failed('looking at the host'));
      agent.reconcile(goneGrace).catch(failed('reconciling'));
    }, reconcileEvery),
    setInterval(() => {
      host?.glance();
      folder.keep();
    }, glanceEvery),
    setInterval(() => podEvents?.flush(), tellEvery),
  ];
  for (const timer of timers) timer.unref();
  return () => {
    for (const timer of timers) clearInterval(timer);
  };
}
