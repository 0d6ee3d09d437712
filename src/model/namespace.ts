/** A Namespace, as policy sees it. */
import type { SourceRef } from '../errors/problem.js';
import type { Labels } from './labels.js';

/** The label that the API server gives every namespace; `World` adds it where a manifest has none. */
export const namespaceNameLabel = 'kubernetes.io/metadata.name';

export interface Namespace {
  readonly name: string;
  readonly labels: Labels;
  readonly source?: SourceRef;
}
