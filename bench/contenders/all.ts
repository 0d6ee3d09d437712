/** Every contender, in the order of the report's tables. */
import type { Contender } from './contender.js';
import { weft } from './weft.js';

export const contenders: readonly Contender[] = [...weft];

/** The contender of that name; undefined when there is none. */
export function contenderNamed(name: string): Contender | undefined {
  return contenders.find((contender) => contender.name === name);
}
