/**
 * Whether two objects of the model mean the same. Where they were written (`source`) does not count: a line that is added at the top of
 * a file moves everything below it and changes nothing. Model objects are plain frozen data: objects, arrays, Maps, primitives.
 */
export function sameObject(one: unknown, other: unknown): boolean {
  if (Object.is(one, other)) return true;
  if (typeof one !== 'object' || typeof other !== 'object' || one === null || other === null) return false;
  if (one instanceof Map || other instanceof Map) return sameMap(one, other);
  if (Array.isArray(one) || Array.isArray(other)) {
    if (!Array.isArray(one) || !Array.isArray(other) || one.length !== other.length) return false;
    return one.every((value, index) => sameObject(value, other[index]));
  }
  const keys = keysOf(one);
  if (keys.length !== keysOf(other).length) return false;
  return keys.every(
    (key) =>
      Object.hasOwn(other, key) &&
      sameObject((one as Record<string, unknown>)[key], (other as Record<string, unknown>)[key]),
  );
}

function keysOf(value: object): string[] {
  return Object.keys(value).filter((key) => key !== 'source');
}

function sameMap(one: object, other: object): boolean {
  if (!(one instanceof Map) || !(other instanceof Map) || one.size !== other.size) return false;
  for (const [key, value] of one) if (!other.has(key) || !sameObject(value, other.get(key))) return false;
  return true;
}
