/** Reading plain objects for the reference evaluator. */
import { isObject, type PlainLabels } from './evaluate-selector.js';

export type PlainRecord = Record<string, unknown>;

/** The object's metadata, which `Reference` has made sure of. */
export function metadataOf(object: PlainRecord): PlainRecord {
  return object.metadata as PlainRecord;
}

export function namespaceOf(object: PlainRecord): string {
  const { namespace } = metadataOf(object);
  return typeof namespace === 'string' && namespace !== '' ? namespace : 'default';
}

/** `namespace/name` */
export function keyOfObject(object: PlainRecord): string {
  return `${namespaceOf(object)}/${String(metadataOf(object).name)}`;
}

/** undefined: not labels at all, so the object counts as absent. */
export function plainLabels(value: unknown): PlainLabels | undefined {
  if (value === undefined || value === null) return {};
  if (!isObject(value)) return undefined;
  return Object.values(value).every((label) => typeof label === 'string')
    ? (value as PlainLabels)
    : undefined;
}

export function isPortNumber(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= 65535;
}
