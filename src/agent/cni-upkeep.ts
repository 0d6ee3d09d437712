/**
 * The CNI programs and the network configuration, kept in place by the agent (`cni.install`), for a node on which nobody runs `weft install`.
 * The configuration is what makes a node Ready and pods start, so it waits for the agent's first acknowledged state. At the start
 * everything is brought to this version; afterwards only what is gone is put back, since an administrator may have
 * chained a plugin of his own.
 */
import { builtPrograms, install, lacksFiles } from '../cni/installation.js';
import { findPlaces } from '../cni/places.js';
import type { Config } from '../config/options.js';
import { type Problem, WeftError } from '../errors/problem.js';
import type { Logger } from '../telemetry/log.js';

export class CniUpkeep {
  readonly #config: Config;
  readonly #log: Pick<Logger, 'info' | 'warn'>;
  readonly #programs: string;
  #begun = false;
  #done = false;
  #problems: readonly Problem[] = [];

  /** `programs`: folder of `weft-cni` and `loopback`. */
  constructor(config: Config, log: Pick<Logger, 'info' | 'warn'>, programs = builtPrograms) {
    this.#config = config;
    this.#log = log;
    this.#programs = programs;
  }

  get problems(): readonly Problem[] {
    return this.#problems;
  }

  /** To be called when the agent can serve an ADD; only the first call does anything. */
  begin(): void {
    if (this.#begun) return;
    this.#begun = true;
    this.keep();
  }

  /** To be called now and then; nothing happens before `begin`. Never throws: what fails is a problem, and tried again. */
  keep(): void {
    const { cni, host, paths } = this.#config;
    if (!cni.install || !this.#begun) return;
    try {
      const places = findPlaces(host.root);
      const where = {
        root: host.root,
        bin: cni.binDir || places.bin,
        configurations: cni.confDir || places.configurations,
      };
      if (this.#done && !lacksFiles(where)) return;
      const { files, shadowedBy } = install({
        ...where,
        runDir: paths.run,
        programs: this.#programs,
        force: false,
      });
      const written = files.filter(({ what }) => what === 'written').map(({ path }) => path);
      if (written.length > 0)
        this.#log.info({ written, again: this.#done }, 'the container runtime calls weft from now on');
      this.#done = true;
      this.#tell(shadowedBy === null ? [] : [shadowed(shadowedBy)]);
    } catch (error) {
      const code = error instanceof WeftError ? error.code : 'install-write';
      this.#tell([{ code, severity: 'error', message: (error as Error).message }]);
    }
  }

  #tell(problems: readonly Problem[]): void {
    const known = this.#problems.map(({ message }) => message);
    for (const { code, message } of problems) if (!known.includes(message)) this.#log.warn({ code }, message);
    this.#problems = problems;
  }
}

const shadowed = (path: string): Problem => ({
  code: 'cni-shadowed',
  severity: 'error',
  message: `The container runtime takes ${path} before weft's network configuration.`,
  fix: 'Remove it, or rename it so that it comes later; pods that start meanwhile are not in the network of weft.',
});
