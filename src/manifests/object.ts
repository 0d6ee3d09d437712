/** An object as it was written, and the way back to its text. */
import type { SourceRef } from '../errors/problem.js';

/** A field path inside one object: `['spec', 'ingress', 0, 'ports']`. */
export type FieldPath = readonly (string | number)[];

/** A plain Kubernetes object as it was written: nothing defaulted, nothing validated beyond apiVersion and kind being text. */
export interface KubernetesObject {
  readonly apiVersion?: unknown;
  readonly kind?: unknown;
  readonly metadata?: unknown;
  readonly [field: string]: unknown;
}

/** One object of a manifest with the way back to its text. */
export interface ManifestObject {
  readonly value: KubernetesObject;
  readonly file: string;
  /**
   * Where a field stands, as line and column from 1. `what: 'key'` points at the field's name instead of its value. A
   * field that is absent resolves to its nearest ancestor that is present; the returned path is always the one asked for.
   */
  locate(path: FieldPath, what?: 'key' | 'value'): SourceRef;
}

/** `spec.ingress[0].ports[1].port`; keys that are no plain words are quoted in brackets. */
export function formatPath(path: FieldPath): string {
  let text = '';
  for (const part of path) {
    if (typeof part === 'number') text += `[${part}]`;
    else if (/^[A-Za-z_][A-Za-z0-9_-]*$/.test(part)) text += text === '' ? part : `.${part}`;
    else text += `[${JSON.stringify(part)}]`;
  }
  return text;
}
