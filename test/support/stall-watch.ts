/** Preloaded into a process (`--import`): appends to the file WEFT_STALLS how long its event loop was held, `time milliseconds` a line. */
import { appendFileSync } from 'node:fs';

const file = process.env.WEFT_STALLS;
/** Milliseconds: shorter ones are any timer's. */
const worthTelling = 15;
const every = 5;

if (file !== undefined && process.argv.includes('agent')) {
  let last = performance.now();
  setInterval(() => {
    const now = performance.now();
    const held = now - last - every;
    last = now;
    if (held > worthTelling) appendFileSync(file, `${(Date.now() - held).toFixed(0)} ${held.toFixed(0)}\n`);
  }, every).unref();
}
