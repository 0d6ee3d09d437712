/** What the agent tells of itself while it works, and what becomes of it: log lines and metrics. */
import type { Logger } from '../telemetry/log.js';
import type { MetricsRegistry } from '../telemetry/registry.js';
import type { Heap } from './heap.js';
import type { CompileFigures } from './policy-stage.js';
import type { SwitchLink } from './switch-link.js';

export interface AgentObserver {
  log(
    level: 'debug' | 'info' | 'warn' | 'error',
    message: string,
    fields?: Readonly<Record<string, unknown>>,
  ): void;
  compiled(figures: CompileFigures): void;
  /** Called when the switch is there (again), with the link for flows and queries. */
  connected(link: SwitchLink): void;
  /** A pod is attached, so long after it was asked for. */
  attached(milliseconds: number): void;
  /** The switch has the latest desired state in force, or has said what of it is not. */
  acknowledged(): void;
  /** So many attachments were removed whose pod went without a DEL. */
  leaked(count: number): void;
}

export interface ObserverParts {
  readonly log: Logger;
  readonly registry: MetricsRegistry;
  readonly heap: Heap;
  /** Whether what the sources tell is in force. */
  readonly ready: () => boolean;
  /** Who else is told. */
  readonly connected: (link: SwitchLink) => void;
  readonly acknowledged: () => void;
}

export function agentObserver({ log, registry, heap, ready, ...others }: ObserverParts): AgentObserver {
  let wasReady = false;
  // Until then what the API said since the agent before this one died is not enforced.
  const sayFirst = () => {
    if (wasReady || !ready()) return;
    wasReady = true;
    const seconds = process.uptime();
    registry.set('weft_agent_start_seconds', seconds);
    log.info({ milliseconds: Math.round(seconds * 1000) }, 'what the sources tell is in force');
  };
  return {
    log: (level, message, fields) => log[level](fields ?? {}, message),
    compiled: ({ lastMilliseconds, imageBytes }) => {
      registry.observe('weft_agent_compile_seconds', lastMilliseconds / 1000);
      heap.stirred();
      log.debug({ milliseconds: lastMilliseconds, bytes: imageBytes }, 'policy compiled');
    },
    connected: others.connected,
    attached: (milliseconds) => registry.observe('weft_agent_attach_seconds', milliseconds / 1000),
    acknowledged: () => {
      sayFirst();
      others.acknowledged();
      // Also when a trial has ended, which leaves a compiler behind.
      heap.stirred();
      heap.settled();
    },
    leaked: (count) => registry.increment('weft_ipam_leaked_total', {}, count),
  };
}
