/**
 * Makes contenders stand, and subjects of node measures: packages, availability, start, enforcement. What fails is an attendance with
 * its reason and never keeps the others from standing.
 */
import type { Contender, Running, Site } from './contenders/contender.js';
import { showEnforcement } from './enforcement.js';
import type { NodeMeasure, NodeSubject } from './node-measure.js';
import { packagesAbsence } from './packages.js';
import type { Attendance } from './report/json.js';
import { startOf, startsAtOnce } from './selection.js';

export interface Standing {
  readonly attendances: readonly Attendance[];
  readonly running: ReadonlyMap<string, Running>;
}

/** Ends what stands, all of it, and says what could not be undone. */
export class Cast {
  readonly #standing = new Set<{ stop(): Promise<void> }>();

  add(standing: { stop(): Promise<void> }): void {
    this.#standing.add(standing);
  }

  async stop(say: (text: string) => void): Promise<void> {
    const all = [...this.#standing];
    this.#standing.clear();
    const results = await Promise.allSettled(all.map((standing) => standing.stop()));
    for (const result of results)
      if (result.status === 'rejected') say(`left behind: ${wordsOf(result.reason)}`);
  }
}

export function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Runs `work` for each item, the longest first, so that it is not what everything waits for. Order of results is that of the items. */
async function each<T, R>(
  items: readonly T[],
  length: (item: T) => number,
  work: (item: T) => Promise<R>,
): Promise<readonly R[]> {
  const results: R[] = [];
  const order = items.map((_, i) => i).sort((a, b) => length(items[b] as T) - length(items[a] as T));
  const worker = async (): Promise<void> => {
    for (let i = order.shift(); i !== undefined; i = order.shift()) results[i] = await work(items[i] as T);
  };
  await Promise.all(Array.from({ length: startsAtOnce }, worker));
  return results;
}

export interface StandOptions {
  readonly makeSite: (say: (text: string) => void) => Site;
  readonly cast: Cast;
  readonly signal: AbortSignal;
  /** What goes on now. */
  readonly say: (text: string) => void;
  /** What has to be read. */
  readonly note: (text: string) => void;
  /** One of them stands, or does not and never will. */
  readonly over: (name: string) => void;
}

/** All contenders stand at once afterwards, each with its enforcement shown. */
export async function stand(
  contenders: readonly Contender[],
  options: StandOptions,
  show: typeof showEnforcement = showEnforcement,
): Promise<Standing> {
  const running = new Map<string, Running>();
  const attendances = await each(
    contenders,
    ({ name }) => startOf(name),
    async (contender): Promise<Attendance> => {
      const { name, description, policies } = contender;
      const absent = (notRun: string, took: number | null = null): Attendance => {
        options.note(`${name}: not run: ${notRun}`);
        return { name, description, policies, enforcement: null, took, notRun };
      };
      if (options.signal.aborted) return absent('the run ended before');
      const begun = performance.now();
      const seconds = () => (performance.now() - begun) / 1000;
      let made: Running | undefined;
      try {
        const reason = packagesAbsence(contender.packages) ?? (await contender.unavailable());
        if (reason !== null) return absent(reason);
        options.say(`${name}: starts`);
        made = await contender.start(options.makeSite((text) => options.say(`${name}: ${text}`)));
        const took = seconds();
        options.cast.add(made);
        const enforcement = await show(contender, made);
        running.set(name, made);
        options.say(`${name}: stands after ${took.toFixed(1)} s`);
        return { name, description, policies, enforcement, took, notRun: null };
      } catch (error) {
        await made?.stop().catch((problem: unknown) => options.note(`${name}: ${wordsOf(problem)}`));
        return absent(wordsOf(error), seconds());
      } finally {
        options.over(name);
      }
    },
  );
  return { attendances, running };
}

/** The subjects of one node measure, one after the other: what is made beside them would disturb some of them. */
export async function standSubjects(
  measure: NodeMeasure,
  subjects: readonly string[],
  options: StandOptions,
): Promise<{
  readonly standing: ReadonlyMap<string, NodeSubject>;
  readonly absent: ReadonlyMap<string, string>;
}> {
  const standing = new Map<string, NodeSubject>();
  const absent = new Map<string, string>();
  for (const subject of subjects) {
    if (options.signal.aborted) break;
    const name = `${subject}/${measure.name}`;
    try {
      const reason = packagesAbsence(measure.packages) ?? (await measure.unavailable(subject));
      if (reason === null) {
        options.say(`${name}: starts`);
        const made = await measure.start(
          subject,
          options.makeSite((text) => options.say(`${name}: ${text}`)),
        );
        options.cast.add(made);
        standing.set(subject, made);
      } else absent.set(subject, reason);
    } catch (error) {
      absent.set(subject, wordsOf(error));
    }
    options.over(subject);
    const reason = absent.get(subject);
    if (reason !== undefined) options.note(`${name}: not run: ${reason}`);
  }
  return { standing, absent };
}
