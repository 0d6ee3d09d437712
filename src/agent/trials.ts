/**
 * Trials of policies: one at a time on a node. A trial lasts as long as the client that asked for it listens, at most as long as it was
 * asked for, and no longer than the connection to the switch that it began on; whatever ends it, the switch forgets the shadow
 * and enforcement never knew of it.
 *
 * Order at the start: the switch listens first (a switch that knows no trials says so), then the shadow is compiled and published together
 * with the image in force.
 */
import { type Problem, WeftError } from '../errors/problem.js';
import { noObjects } from '../manifests/decode.js';
import { parseManifests } from '../manifests/parse.js';
import { validateObjects } from '../manifests/validate.js';
import { keyOf } from '../model/event.js';
import type { NetworkPolicy } from '../model/policy.js';
import type { Agent } from './agent.js';
import type { Compile } from './compile.js';
import type { ImageFiles } from './image-files.js';
import { decodeObject } from './manifest-file.js';
import type { Names } from './names.js';
import { needLink } from './need-link.js';
import { ownerOf } from './owner.js';
import type { TrialOver, TrialTotals } from './protocol/events.js';
import type { TrialRequest } from './protocol/requests.js';
import { type PolicyChanges, ShadowStage } from './shadow-stage.js';
import type { SwitchLink } from './switch-link.js';
import { TrialReport } from './trial-report.js';

/** How often a client is told of what has changed. Milliseconds. */
const tellEvery = 500;

/** The one who asked. `send` takes an event of the trial; false: it could not be taken now, the next one will say it too. */
export interface TrialClient {
  send(event: { readonly rows: ReturnType<TrialReport['changed']>; readonly totals: TrialTotals }): boolean;
  over(end: TrialOver): void;
}

export interface TrialOptions {
  readonly agent: Agent;
  readonly names: Names;
  readonly images: ImageFiles;
  /** Makes a compiler for a trial; it goes with it. */
  readonly compiler: () => Compile;
  readonly log: (message: string, fields: Readonly<Record<string, unknown>>) => void;
}

interface Running {
  readonly stage: ShadowStage;
  readonly report: TrialReport;
  end(end: TrialOver): void;
}

export class Trials {
  readonly #options: TrialOptions;
  #count = 0;
  #running: Running | 'starting' | null = null;

  constructor(options: TrialOptions) {
    this.#options = options;
  }

  /** Of the trial that runs; null where none does. */
  get totals(): TrialTotals | null {
    return this.#running === null || this.#running === 'starting' ? null : this.#running.report.totals;
  }

  /** Resolves when both images judge, with how to end the trial; rejects with a WeftError, and nothing was changed. */
  async start(request: TrialRequest, client: TrialClient): Promise<() => void> {
    const { agent } = this.#options;
    if (this.#running !== null)
      throw new WeftError(
        'trial-busy',
        'A trial runs on this node already; there is one at a time. Wait for its end, or end it.',
      );
    const longest = agent.config.agent.trials.longest / 1_000_000;
    if (!(request.seconds > 0 && request.seconds <= longest))
      throw new WeftError(
        'trial-invalid',
        `A trial lasts up to ${longest} seconds (agent.trials.longest); ${request.seconds} were asked for.`,
      );
    const changes = readChanges(request, (key) => agent.state.world.get('policy', key) !== undefined);
    this.#running = 'starting';
    try {
      return await this.#begin(request, changes, client);
    } catch (error) {
      this.#running = null;
      throw error;
    }
  }

  async #begin(request: TrialRequest, changes: PolicyChanges, client: TrialClient): Promise<() => void> {
    const { agent, names, images, compiler, log } = this.#options;
    const link = needLink(agent);
    const stage = new ShadowStage(++this.#count, changes, compiler(), images);
    const report = new TrialReport(names, (pod) => workload(agent, pod), agent.config.agent.trials.rows);
    const unsubscribe = await listen(link, report);
    let timers: NodeJS.Timeout[] = [];
    let letGo = () => {};
    let over = false;
    const tell = () => {
      const rows = report.changed();
      if (!client.send({ rows, totals: report.totals })) report.again(rows);
    };
    const end = (how: TrialOver) => {
      if (over) return;
      over = true;
      for (const timer of timers) clearInterval(timer);
      letGo();
      unsubscribe();
      if (this.#running === running) this.#running = null;
      agent.setShadow(null);
      client.send({ rows: report.changed(), totals: report.totals });
      client.over(how);
      log('a trial of policies is over', { trial: stage.trial, how: how.reason, ...report.totals });
    };
    const running: Running = { stage, report, end };
    try {
      await agent.setShadow(stage, (error) => end({ reason: 'failed', message: error.message }));
      // The link on which the subscription is may have gone while the switch was waited for.
      if (agent.link !== link) throw new WeftError('switch-away', 'The switch has restarted. Try again.');
    } catch (error) {
      over = true;
      unsubscribe();
      agent.setShadow(null);
      throw error;
    }
    this.#running = running;
    log('a trial of policies has begun', {
      trial: stage.trial,
      policies: changes.put.length,
      without: changes.remove.size,
      seconds: request.seconds,
    });
    timers = [
      setInterval(tell, tellEvery),
      setTimeout(() => end({ reason: 'time' }), request.seconds * 1000),
    ];
    letGo = link.whenEnded(() =>
      end({
        reason: 'switch',
        message:
          'The connection to the switch has ended. It may have restarted; it does not go on with a trial.',
      }),
    );
    return () => end({ reason: 'asked' });
  }
}

async function listen(link: SwitchLink, report: TrialReport): Promise<() => void> {
  try {
    return await link.trial((events, lost, counts) => report.take(events, lost, counts));
  } catch (error) {
    if (error instanceof WeftError && error.code === 'frame-invalid')
      throw new WeftError(
        'switch-old',
        'The switch that runs is of an older version and knows no trials. Restart it (`weft switch`); running pods keep their connections.',
        { cause: error },
      );
    throw error;
  }
}

/** `namespace/pod` → `namespace/workload`. */
function workload(agent: Agent, key: string): string {
  const pod = agent.state.world.get('pod', key);
  return pod === undefined ? key : keyOf(pod.namespace, ownerOf(pod));
}

/** Throws `input` with every problem, where something cannot be read, and `trial-invalid` where nothing would be tried. */
function readChanges(request: TrialRequest, known: (key: string) => boolean): PolicyChanges {
  const problems: Problem[] = [];
  const objects = noObjects();
  for (const { file, text } of request.manifests) {
    const parsed = parseManifests(text, file);
    problems.push(...parsed.problems, ...validateObjects(parsed.objects));
    for (const object of parsed.objects) decodeObject(object, objects, []);
  }
  const errors = problems.filter(({ severity }) => severity === 'error');
  if (errors.length > 0)
    throw new WeftError('input', 'The policies of the trial cannot be read.', { problems: errors });
  for (const key of request.remove) {
    if (!known(key))
      throw new WeftError(
        'trial-invalid',
        `There is no policy ${key} to be left out. \`weft policy try --delete\` takes NAMESPACE/NAME of one that is in force.`,
      );
  }
  const put = new Map<string, NetworkPolicy>();
  for (const policy of objects.policies) put.set(keyOf(policy.namespace, policy.name), policy);
  const remove = new Set(request.remove.filter((key) => !put.has(key)));
  if (put.size + remove.size === 0)
    throw new WeftError(
      'trial-invalid',
      'There is no NetworkPolicy in what was given, and none to be left out.',
    );
  return { put: [...put.values()], remove };
}
