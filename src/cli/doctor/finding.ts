/** One thing that the doctor has looked at. */
export interface Finding {
  readonly level: 'ok' | 'warning' | 'error';
  /** Stable word. */
  readonly check: string;
  /** What was seen. */
  readonly seen: string;
  /** What to do; absent where all is well. */
  readonly remedy?: string;
}

export const levels: readonly Finding['level'][] = ['error', 'warning', 'ok'];

export function ok(check: string, seen: string): Finding {
  return { level: 'ok', check, seen };
}

export function warning(check: string, seen: string, remedy: string): Finding {
  return { level: 'warning', check, seen, remedy };
}

export function error(check: string, seen: string, remedy: string): Finding {
  return { level: 'error', check, seen, remedy };
}
