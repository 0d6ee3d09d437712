/** The log: pino to standard error, JSON a line, or for people where standard error is a terminal. Standard output stays free for data. */
import { createRequire } from 'node:module';
import { type DestinationStream, type Logger, pino } from 'pino';
import type { PrettyOptions } from 'pino-pretty';

export type { Logger };

export interface LogOptions {
  readonly level: string;
  readonly format: 'auto' | 'json' | 'pretty';
}

/** Loaded where it is used: a node's processes write JSON. */
const prettyStream = (options: PrettyOptions): DestinationStream =>
  createRequire(import.meta.url)('pino-pretty')(options);

/** `process`: which of weft's processes is speaking. Writes synchronously: what a dying process said last must not be lost. */
export function openLog(
  processName: string,
  options: LogOptions,
  terminal = process.stderr.isTTY === true,
): Logger {
  const forPeople = options.format === 'pretty' || (options.format === 'auto' && terminal);
  const destination = forPeople
    ? prettyStream({
        destination: 2,
        sync: true,
        colorize: terminal,
        ignore: 'pid,hostname,process',
        translateTime: 'SYS:HH:MM:ss.l',
      })
    : pino.destination({ dest: 2, sync: true });
  return pino(
    {
      level: options.level,
      base: { process: processName, pid: process.pid },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    destination,
  );
}
