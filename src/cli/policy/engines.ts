/** The engines by name. */
import type { EngineFactory } from './batch.js';
import { decodedEngine, nativeEngine } from './compiled.js';
import { type EngineName, referenceEngine } from './engine.js';

export const engineNames: readonly EngineName[] = ['native', 'reference', 'decoded'];

export function engineNamed(name: EngineName): EngineFactory {
  switch (name) {
    case 'native':
      return nativeEngine;
    case 'reference':
      return referenceEngine;
    case 'decoded':
      return decodedEngine;
  }
}
