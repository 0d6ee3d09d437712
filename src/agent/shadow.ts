/**
 * The image of a trial beside the one in force: what makes it, what the next desired state has of it, and what the switch said. One at
 * a time; a trial without an image is over.
 */
import type { Config } from '../config/options.js';
import type { ImageStatus } from '../dataplane/protocol/answers.js';
import type { ShadowSpec } from '../dataplane/protocol/desired-state.js';
import { WeftError } from '../errors/problem.js';
import type { NodeState } from './node-state.js';
import type { ShadowStage } from './shadow-stage.js';

interface Running {
  readonly stage: ShadowStage;
  failed(error: WeftError): void;
}

export class Shadow {
  #running: Running | null = null;
  #status: ImageStatus | undefined;

  get runs(): boolean {
    return this.#running !== null;
  }

  /** Its file, which has to stay; null: there is none. */
  get image(): string | null {
    return this.#running?.stage.image ?? null;
  }

  /** Whether the last publication that was acknowledged had one. */
  get published(): boolean {
    return this.#status !== undefined;
  }

  /** In the place of the one before. `failed` is told when there is no image any more. */
  begin(stage: ShadowStage, failed: (error: WeftError) => void): void {
    this.#running = { stage, failed };
  }

  end(): void {
    this.#running = null;
  }

  /** For the next desired state; null: without. */
  next(state: NodeState, config: Config): ShadowSpec | null {
    if (this.#running === null) return null;
    const { stage } = this.#running;
    stage.update(state, config);
    if (stage.error !== null) this.#fail(stage.error);
    return stage.image === null ? null : { trial: stage.trial, image: stage.image };
  }

  /** What the switch said of it; undefined: the publication had none. */
  acknowledged(status: ImageStatus | undefined): void {
    this.#status = status;
    if (status?.status === 'refused' && this.#running !== null)
      this.#fail(
        new WeftError('image-refused', status.error?.message ?? 'The switch refused the image of the trial.'),
      );
  }

  #fail(error: WeftError): void {
    const { failed } = this.#running!;
    this.#running = null;
    failed(error);
  }
}
