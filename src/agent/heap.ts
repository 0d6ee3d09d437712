/**
 * Gives back what loading a cluster left behind. Parsing and the first compile make several times as much garbage as there is data, and V8
 * collects by allocation: a process that goes quiet afterwards keeps all of it, for days. So once nothing has happened for a moment, and the
 * heap has grown by a good deal since the last time, it is collected whole. That pauses the agent for some 50 ms with nobody waiting;
 * while changes go on coming it never happens, and V8 does as it thinks fit.
 */
import { getHeapStatistics } from 'node:v8';

/** Milliseconds without a change. */
const quiet = 2000;
/** Bytes: less than this is not worth a pause. */
const worthwhile = 8 * 1024 * 1024;

export interface HeapSource {
  /** Bytes that the heap holds, garbage included. */
  readonly size: () => number;
  readonly collect: () => void;
  /** What is young only: about a millisecond. */
  readonly collectYoung: () => void;
}

/** Null where Node.js was started without --expose-gc (deploy/node-flags has it): then V8 is left alone. */
export function ownHeap(): HeapSource | null {
  const { gc } = globalThis;
  if (gc === undefined) return null;
  return {
    size: () => getHeapStatistics().total_heap_size,
    collect: () => gc(),
    collectYoung: () => gc({ type: 'minor' }),
  };
}

export class Heap {
  readonly #source: HeapSource | null;
  /** After the last collection. */
  #kept = 0;
  #timer: NodeJS.Timeout | null = null;

  constructor(source: HeapSource | null) {
    this.#source = source;
  }

  /** Something was loaded or compiled. */
  stirred(): void {
    if (this.#source === null) return;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#rest(), quiet);
    this.#timer.unref?.();
  }

  /** A change is in force: what it left behind is collected now, while nobody waits, and not in the middle of the next one. */
  settled(): void {
    this.#source?.collectYoung();
  }

  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  #rest(): void {
    this.#timer = null;
    const source = this.#source;
    if (source === null || source.size() < this.#kept + worthwhile) return;
    source.collect();
    this.#kept = source.size();
  }
}
