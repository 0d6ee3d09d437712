/**
 * What the switch keeps in its run directory, so that a new process goes on where the old one stopped before any agent connects:
 * the desired ports and settings of the last publication, ports that were being removed, the epoch, and the accepted image.
 *
 * Files are replaced by rename, so a reader finds the old or the new one, never half of it. The run directory is on tmpfs: nothing here
 * has to survive a power cut, and a reboot empties it. A file that does not parse is told of and treated as absent: without an image
 * nothing passes, and the agent's next publication brings everything back. A port or a setting that this version does not know, as after a
 * downgrade, is left out and told of: such a port is closed until the agent publishes, such a setting has its default, and the others go on.
 */
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { FrameInvalid, parsePort, parseSettings } from './parse-request.js';
import type { PortSpec, SwitchSettings } from './protocol/desired-state.js';

const stateVersion = 1;
const stateName = 'switch-state.json';

export interface SwitchState {
  readonly epoch: number;
  readonly revision: number;
  /** Starts of a switch on this run directory. */
  readonly starts: number;
  readonly settings: SwitchSettings;
  readonly ports: readonly PortSpec[];
  /** Ports whose removal had begun: a switch that dies in the middle leaves them to its successor. */
  readonly leaving: readonly PortSpec[];
}

export const emptyState: SwitchState = {
  epoch: 0,
  revision: 0,
  starts: 0,
  settings: {},
  ports: [],
  leaving: [],
};

export interface FoundState {
  /** Null: there was none, or none that could be read. */
  readonly state: SwitchState | null;
  readonly image: Buffer | null;
  /** Why a file that is there was not used. */
  readonly refused: readonly string[];
  /** What of the state was left out, and why; the rest is used. */
  readonly leftOut: readonly string[];
}

export class StateFolder {
  readonly #state: string;
  readonly #image: string;

  constructor(runDirectory: string) {
    this.#state = join(runDirectory, stateName);
    this.#image = join(runDirectory, 'switch-image');
  }

  read(): FoundState {
    const refused: string[] = [];
    const leftOut: string[] = [];
    let state: SwitchState | null = null;
    const text = readIfThere(this.#state);
    if (text !== null) {
      try {
        state = parseState(text.toString('utf8'), (sentence) => leftOut.push(sentence));
      } catch (error) {
        refused.push(`${this.#state} is damaged or of another version: ${(error as Error).message}`);
      }
    }
    return { state, image: readIfThere(this.#image), refused, leftOut: state === null ? [] : leftOut };
  }

  /** What of it somebody has removed. */
  lost(): { readonly state: boolean; readonly image: boolean } {
    return { state: !existsSync(this.#state), image: !existsSync(this.#image) };
  }

  writeState(state: SwitchState): void {
    replace(this.#state, JSON.stringify({ version: stateVersion, ...state }));
  }

  writeImage(bytes: Uint8Array): void {
    replace(this.#image, bytes);
  }
}

/** The highest epoch that a switch of this run directory has welcomed, as far as it can be read; 0: none. */
export function rememberedEpoch(runDirectory: string): number {
  try {
    return parseState(readFileSync(join(runDirectory, stateName), 'utf8'), () => {}).epoch;
  } catch {
    return 0;
  }
}

function parseState(text: string, leftOut: (sentence: string) => void): SwitchState {
  const fields = JSON.parse(text) as Record<string, unknown>;
  if (fields.version !== stateVersion)
    throw new Error(`version ${String(fields.version)} instead of ${stateVersion}`);
  const count = (name: string): number => {
    const value = fields[name];
    if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
    throw new Error(`${name} is not a number`);
  };
  const ports = (name: string): readonly PortSpec[] => {
    const value = fields[name];
    if (!Array.isArray(value)) throw new Error(`${name} is not a list`);
    return value.flatMap((item, index) => {
      try {
        return [parsePort(item, `${name}[${index}]`)];
      } catch (error) {
        if (!(error instanceof FrameInvalid)) throw error;
        leftOut(error.message);
        return [];
      }
    });
  };
  return {
    epoch: count('epoch'),
    revision: count('revision'),
    starts: count('starts'),
    settings: parseSettings(fields.settings ?? {}, leftOut),
    ports: ports('ports'),
    leaving: ports('leaving'),
  };
}

function readIfThere(file: string): Buffer | null {
  try {
    return readFileSync(file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

function replace(file: string, content: string | Uint8Array): void {
  const next = `${file}.next`;
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  writeFileSync(next, content, { mode: 0o600 });
  renameSync(next, file);
}
