/**
 * What the agent keeps in the run directory, put back when somebody has removed it (a clean-up that knows no better): the socket that
 * the CNI plugin asks, the epoch, without which the next agent would be fenced off, the leases, without which it would take running
 * pods for nobody's, and the image, without which a switch that starts again lets nothing pass.
 */
import type { Leases } from '../ipam/leases.js';
import type { Logger } from '../telemetry/log.js';
import type { Agent } from './agent.js';
import type { AttachmentDetails } from './attachment.js';
import { keepEpoch } from './epoch.js';
import type { AgentServer } from './server.js';

export interface RunFolderParts {
  readonly run: string;
  readonly epoch: number;
  readonly leases: Pick<Leases<AttachmentDetails>, 'keep'>;
  readonly server: Pick<AgentServer, 'keep'>;
  readonly agent: Pick<Agent, 'keepImage'>;
  readonly log: Pick<Logger, 'warn'>;
}

export class RunFolder {
  readonly #parts: RunFolderParts;
  #busy = false;
  #failed = false;

  constructor(parts: RunFolderParts) {
    this.#parts = parts;
  }

  /** Looks, and writes what is missing. Some system calls; to be called often. */
  keep(): void {
    if (this.#busy) return;
    this.#busy = true;
    this.#look()
      .then(
        (missing) => {
          this.#failed = false;
          if (missing.length > 0)
            this.#parts.log.warn(
              { directory: this.#parts.run, missing },
              'somebody has removed files of the run directory; they are written again',
            );
        },
        (error: Error) => {
          if (!this.#failed)
            this.#parts.log.warn(
              { error: error.message },
              'files of the run directory cannot be written again',
            );
          this.#failed = true;
        },
      )
      .finally(() => {
        this.#busy = false;
      });
  }

  async #look(): Promise<readonly string[]> {
    const { run, epoch, leases, server, agent } = this.#parts;
    const missing: string[] = [];
    if (keepEpoch(run, epoch)) missing.push('epoch');
    if (leases.keep()) missing.push('leases');
    if (agent.keepImage()) missing.push('image');
    if (await server.keep()) missing.push('socket');
    return missing;
  }
}
