/** The engines by name. */
import type { EngineFactory } from './batch.js';
import { type EngineName, referenceEngine } from './engine.js';

export const engineNames: readonly EngineName[] = ['reference'];

export function engineNamed(name: EngineName): EngineFactory {
  switch (name) {
    case 'reference':
      return referenceEngine;
    default:
      throw new Error(`engine ${name}`);
  }
}
