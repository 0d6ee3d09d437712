/** Holds the layer table of ARCHITECTURE.md: each layer of src/ imports only what stands to its right. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve, sep } from 'node:path';
import test from 'node:test';
import { repositoryRoot } from '../../support/repository.js';

/** Left to right; the layers of one row do not import each other. */
const rows: readonly (readonly string[])[] = [
  ['cli'],
  ['lab'],
  ['agent'],
  ['kube'],
  ['manifests', 'dataplane', 'cni', 'ipam', 'host', 'config', 'telemetry'],
  ['image'],
  ['policy'],
  ['identity'],
  ['model'],
  ['net', 'errors'],
];
const firstPureRow = rows.findIndex((row) => row.includes('image'));
const rowOf = (layer: string): number => rows.findIndex((row) => row.includes(layer));

const source = join(repositoryRoot, 'src');
const files = (readdirSync(source, { recursive: true }) as string[]).filter((name) => name.endsWith('.ts'));

/** Static and dynamic imports and re-exports; comments are removed first so that prose cannot be mistaken for code. */
function importsOf(text: string): string[] {
  const code = text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '');
  return [...code.matchAll(/(?:\bfrom\s*|\bimport\s*\(?\s*)['"]([^'"]+)['"]/g)].map(
    (match) => match[1] as string,
  );
}

test('every folder of src is a layer of the table', () => {
  const folders = new Set(files.map((name) => name.split(sep)[0] as string));
  assert.deepEqual([...folders].filter((folder) => rowOf(folder) === -1).sort(), []);
  assert.ok(files.length > 20, 'the sources were found');
});

test('a layer imports only itself and what stands to its right', () => {
  const wrong: string[] = [];
  for (const name of files) {
    const layer = name.split(sep)[0] as string;
    for (const target of importsOf(readFileSync(join(source, name), 'utf8'))) {
      if (!target.startsWith('.')) continue;
      const file = relative(source, resolve(source, dirname(name), target));
      const other = file.split(sep)[0] as string;
      if (other === layer) continue;
      if (rowOf(other) <= rowOf(layer)) wrong.push(`${name} imports ${file}`);
    }
  }
  assert.deepEqual(wrong, []);
});

test('image and all to its right use no Node.js module, clock, randomness or logger', () => {
  const wrong: string[] = [];
  for (const name of files) {
    if (rowOf(name.split(sep)[0] as string) < firstPureRow) continue;
    const text = readFileSync(join(source, name), 'utf8');
    for (const target of importsOf(text))
      if (target.startsWith('node:') || target === 'pino' || target === 'prom-client')
        wrong.push(`${name} imports ${target}`);
    for (const [call] of text.matchAll(
      /\b(?:Date\.now|new Date\(|performance\.now|Math\.random|process\.|console\.)/g,
    ))
      wrong.push(`${name} uses ${call}`);
  }
  assert.deepEqual(wrong, []);
});
