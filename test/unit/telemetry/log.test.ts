import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const module = fileURLToPath(new URL('../../../src/telemetry/log.js', import.meta.url));

function run(format: string, terminal: boolean): { readonly out: string; readonly err: string } {
  const script = `
    import { openLog } from ${JSON.stringify(module)};
    const log = openLog('agent', { level: 'info', format: ${JSON.stringify(format)} }, ${terminal});
    log.debug('not this');
    log.info({ port: 'web' }, 'a port is up');
    process.exit(0);`;
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    encoding: 'utf8',
  });
  return { out: stdout, err: stderr };
}

test('the log is one JSON object a line on standard error, also of a process that ends at once', () => {
  const { out, err } = run('auto', false);
  assert.equal(out, '');
  const line = JSON.parse(err) as Record<string, unknown>;
  assert.deepEqual([line.level, line.process, line.port, line.msg], ['info', 'agent', 'web', 'a port is up']);
  assert.match(String(line.time), /^\d{4}-\d\d-\d\dT/);
});

test('on a terminal the log is for people', () => {
  const { out, err } = run('auto', true);
  assert.equal(out, '');
  assert.match(err, /INFO.*a port is up/s);
  assert.throws(() => JSON.parse(err));
});
