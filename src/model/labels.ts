/** Labels of a namespace or pod. A Map, so that a label named `__proto__` is a label. */
export type Labels = ReadonlyMap<string, string>;

export function labelsOf(record: Readonly<Record<string, string>>): Labels {
  return new Map(Object.entries(record));
}
