/** A lab for a test: attached to the test's process, so that nothing is left whatever becomes of it. */
import { LabClient, type Launched, launch } from '../../src/lab/launch.js';
import type { LabOptions, SentObject } from '../../src/lab/protocol.js';
import { readManifestFiles } from '../../src/manifests/read.js';

export interface TestLab {
  readonly client: LabClient;
  readonly launched: Launched;
  /** Replaces all objects; throws where a pod did not come up. */
  replace(objects: readonly unknown[]): Promise<void>;
  end(): Promise<void>;
}

let count = 0;

export async function startTestLab(options: Partial<LabOptions> = {}): Promise<TestLab> {
  count++;
  const name = options.name ?? `test-${process.pid}-${count}`;
  const launched = await launch(
    { podCidrs: [], dns: false, mtu: 1500, config: {}, attached: true, ...options, name },
    () => {},
  );
  const client = await LabClient.connect(name);
  return {
    client,
    launched,
    replace: async (objects) => {
      const sent = objects.map((value) => ({ value, file: 'test' }) as SentObject);
      const { problems } = await client.request('replace', { objects: sent });
      const errors = problems.filter(({ severity }) => severity === 'error');
      if (errors.length > 0) throw new Error(errors.map(({ message }) => message).join('\n'));
    },
    end: async () => {
      await client.down();
      client.close();
      launched.letGo();
    },
  };
}

/** The objects of files and folders, as they are written. */
export function objectsOf(...paths: readonly string[]): unknown[] {
  const { objects, problems } = readManifestFiles(paths);
  if (problems.length > 0) throw new Error(problems.map(({ message }) => message).join('\n'));
  return objects.map(({ value }) => value);
}
