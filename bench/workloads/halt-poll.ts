/**
 * In a virtual machine an idle processor halts, and to wake it the hypervisor has to schedule it again: 40 to 60 us on the machine of the
 * reference report, three times the round trip that is being measured, and whether a round trip pays it twice, four times or not at
 * all is the scheduler's whim. Over five runs each, request and response over the raw pump took 16 to 101 us so (median 94), over
 * a bridge 69 to 82; with idle processors that look for work for 200 us before they halt, 22 (once 53) and 11 to 14.
 *
 * Linux's haltpoll governor does that where its limit is set. It is set for the time of a sample and put back afterwards. Machines that do
 * not halt this way (no virtual machine, another governor) have no such limit, and nothing is done.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';

const limitFile = '/sys/module/haltpoll/parameters/guest_halt_poll_ns';
const governorFile = '/sys/devices/system/cpu/cpuidle/current_governor';
const wanted = 200_000;

/** Runs `body` while idle processors poll. */
export async function withoutHalts<T>(body: () => Promise<T>): Promise<T> {
  const before = pollLimit();
  if (before === null || before >= wanted) return body();
  const restore = () => writeFileSync(limitFile, String(before));
  // A run that is ended in the middle leaves the machine as it was, too.
  process.once('exit', restore);
  try {
    writeFileSync(limitFile, String(wanted));
    return await body();
  } finally {
    process.off('exit', restore);
    restore();
  }
}

/** Nanoseconds; null where there is no such limit, or where it is not ours to set. */
function pollLimit(): number | null {
  if (process.geteuid?.() !== 0 || !existsSync(limitFile) || !existsSync(governorFile)) return null;
  if (readFileSync(governorFile, 'utf8').trim() !== 'haltpoll') return null;
  const limit = Number(readFileSync(limitFile, 'utf8'));
  return Number.isInteger(limit) ? limit : null;
}
