/**
 * Writes every checked-in file that is made from a TypeScript table. `npm run generate` runs it; a unit test fails when a
 * checked-in file is not what this makes.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { renderDefaultConfig } from '../../src/config/render.js';
import { renderMetricsPage } from '../../src/telemetry/metrics.js';
import { dropReasonHeader } from './drop-reason.js';
import { layoutHeader } from './layout.js';
import { policyFixture } from './policy-fixture.js';

export interface GeneratedFile {
  /** Relative to the root of the repository. */
  readonly path: string;
  /** The whole text; pure: the same tables give the same bytes. */
  readonly make: () => string;
}

export const generatedFiles: readonly GeneratedFile[] = [
  { path: 'native/generated/drop_reason.h', make: dropReasonHeader },
  { path: 'native/generated/layout.h', make: layoutHeader },
  { path: 'native/generated/policy_fixture.h', make: policyFixture },
  { path: 'config/default.yaml', make: renderDefaultConfig },
  { path: 'config/metrics.md', make: renderMetricsPage },
];

function main(): void {
  for (const { path, make } of generatedFiles) {
    const target = join(process.cwd(), path);
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, make());
    process.stderr.write(`wrote ${path}\n`);
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main();
