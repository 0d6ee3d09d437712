/** The bundled examples say what the scenario cases say: same pods, same verdicts, by the reference evaluator. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { Cluster, usualCluster } from '../../../src/lab/cluster.js';
import { readManifestFiles } from '../../../src/manifests/read.js';
import { validateObjects } from '../../../src/manifests/validate.js';
import { Reference } from '../../../src/policy/evaluate.js';
import { checkpoints, conformanceCases } from '../../support/conformance.js';
import { repositoryRoot } from '../../support/repository.js';
import { weft } from '../../support/weft.js';

const folder = join(repositoryRoot, 'config', 'examples');
const read = (paths: readonly string[]) => readManifestFiles(paths.map((path) => join(folder, path)));

/** Files of an example, and the scenario (the state at its `expect` of this number, the last by default) that they are. */
const matches: readonly { files: readonly string[]; scenario: string; at?: number }[] = [
  { files: ['three-tier/manifests'], scenario: 'seed-three-tier' },
  {
    files: [
      'mysql-redis/manifests/1-one-namespace.yaml',
      'mysql-redis/manifests/2-one-namespace-policies.yaml',
    ],
    scenario: 'seed-mysql-backend-php',
  },
  { files: ['mysql-redis/manifests'], scenario: 'seed-mysql-backend-php' },
  { files: ['mysql-redis/manifests'], scenario: 'seed-cross-namespace-egress' },
  { files: ['frontend-backend/manifests'], scenario: 'seed-frontend-to-backend' },
  { files: ['default-deny-then-one/manifests/1-pods.yaml'], scenario: 'seed-default-deny-then-one', at: 0 },
  {
    files: [
      'default-deny-then-one/manifests/1-pods.yaml',
      'default-deny-then-one/manifests/2-default-deny.yaml',
    ],
    scenario: 'seed-default-deny-then-one',
    at: 1,
  },
  { files: ['default-deny-then-one/manifests'], scenario: 'seed-default-deny-then-one' },
  { files: ['microsegmentation/manifests'], scenario: 'seed-expressions-ports-protocols' },
  {
    files: ['microsegmentation/manifests/1-pods.yaml', 'microsegmentation/steps/namespace-only.yaml'],
    scenario: 'seed-namespace-selector',
  },
  {
    files: ['microsegmentation/manifests/1-pods.yaml', 'microsegmentation/steps/database-egress.yaml'],
    scenario: 'seed-egress-cidr-without-types',
  },
];

describe('the bundled examples', () => {
  const names = readdirSync(folder);

  it('are the ones that are promised', () => {
    assert.deepEqual(names.sort(), [
      'default-deny-then-one',
      'frontend-backend',
      'microsegmentation',
      'mysql-redis',
      'three-tier',
    ]);
  });

  for (const name of names) {
    it(`${name} has a README that names its commands, and manifests without a finding of the schema`, () => {
      const story = readFileSync(join(folder, name, 'README.md'), 'utf8');
      assert.match(story, /weft lab up/);
      for (const [file] of story.matchAll(
        /(?:config\/examples\/[a-z-]+\/)?(?:manifests|steps)\/[a-z0-9-]+\.yaml/g,
      )) {
        const path = file.startsWith('config/') ? join(repositoryRoot, file) : join(folder, name, file);
        assert.ok(existsSync(path), `${file} is named and is not there`);
      }
      const folders = ['manifests', 'steps'].filter((one) => existsSync(join(folder, name, one)));
      const { objects, problems } = read(folders.map((one) => join(name, one)));
      assert.deepEqual(problems, []);
      assert.deepEqual(
        validateObjects(objects).map(({ message }) => message),
        [],
      );
    });
  }

  for (const name of names) {
    it(`${name} passes its own expected verdicts`, () => {
      const { status, stdout, stderr } = weft(['policy', 'test', join(folder, name, 'expected.yaml')]);
      assert.equal(status, 0, stdout + stderr);
      assert.match(stdout, /[1-9]\d* passed, 0 failed/);
    });
  }

  for (const { files, scenario, at } of matches) {
    it(`${files.join(' + ')} is ${scenario}${at === undefined ? '' : ` at its expectation ${at + 1}`}`, () => {
      const cluster = new Cluster({ ...usualCluster, dns: false });
      cluster.apply(read(files).objects);
      const reference = new Reference(cluster.objects);
      const found = checkpoints(conformanceCases().find(({ id }) => id === scenario)!);
      const checkpoint = found.at(at ?? -1)!;
      const addressOf = (end: string) =>
        end.includes('/') ? cluster.pods.find(({ key }) => key === end)!.addresses[0]!.text : end;
      const verdicts = checkpoint.expectations.map(
        ({ from, to, port, protocol }) =>
          reference.judge({ source: addressOf(from), destination: addressOf(to), port, protocol }).allowed,
      );
      assert.deepEqual(
        verdicts,
        checkpoint.expectations.map(({ allowed }) => allowed),
      );
    });
  }
});
