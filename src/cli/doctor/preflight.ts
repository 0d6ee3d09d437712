/** Runs deploy/preflight.sh, the list of what a host needs, and reads its lines. */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Config } from '../../config/options.js';
import { error, type Finding } from './finding.js';

/** In a checkout and in an installed package alike. */
const preflightScript = fileURLToPath(new URL('../../../../deploy/preflight.sh', import.meta.url));

const patience = 30_000; // milliseconds
const most = 1024 * 1024; // bytes of output

/** `root`: folder in which the host's files are; '' where they are our own. Never rejects: a script that cannot run is a finding. */
export function preflight(config: Config, root: string): Promise<readonly Finding[]> {
  return new Promise((resolve) => {
    const env = {
      ...process.env,
      ROOT: root,
      WEFT_MTU: String(config.network.mtu),
      WEFT_INTERFACE: config.network.hostInterface || 'weft0',
      WEFT_RUN: config.paths.run,
    };
    const options = { env, timeout: patience, maxBuffer: most };
    execFile('sh', [preflightScript, '--lines'], options, (failure, stdout, stderr) => {
      const findings = readLines(stdout);
      // Status 1 says that there are errors among the findings; everything else is the script's own failure.
      const failed = failure !== null && (failure.code !== 1 || findings.length === 0);
      const said = stderr.trim().split('\n')[0];
      const own = failed
        ? [error('preflight', `${preflightScript} failed: ${said || failure.message}`, 'run it by hand')]
        : [];
      resolve([...own, ...findings]);
    });
  });
}

/** LEVEL, CHECK, what was seen, remedy, separated by tabs. */
export function readLines(text: string): readonly Finding[] {
  return text.split('\n').flatMap((line): Finding[] => {
    const [level, check, seen = '', remedy = ''] = line.split('\t');
    if ((level !== 'ok' && level !== 'warning' && level !== 'error') || check === undefined) return [];
    return [{ level, check, seen, ...(remedy === '' ? {} : { remedy }) }];
  });
}
