/** Labels of a namespace or pod. A Map, so that a label named `__proto__` is a label. */
export type Labels = ReadonlyMap<string, string>;

export const noLabels: Labels = new Map();

export function labelsOf(record: Readonly<Record<string, string>>): Labels {
  return new Map(Object.entries(record));
}

/** Text that is equal exactly when the labels are; order of insertion does not show. */
export function labelsText(labels: Labels): string {
  return [...labels]
    .map(([key, value]) => `${key}=${value}`)
    .sort()
    .join(',');
}
