/** Debian packages: which of those that something needs are not installed. */
import { execFileSync } from 'node:child_process';
import { programPath } from './contenders/site.js';

/** Empty where there is no dpkg: then only what is asked of the programs themselves counts. */
function missingPackages(packages: readonly string[]): readonly string[] {
  if (programPath('dpkg-query') === null) return [];
  return packages.filter((name) => {
    try {
      // biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg-query's own format.
      const status = execFileSync('dpkg-query', ['-W', '-f=${db:Status-Status}', name], {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
      });
      return status !== 'installed';
    } catch {
      return true;
    }
  });
}

/** Why something that needs these cannot run, or null. */
export function packagesAbsence(packages: readonly string[]): string | null {
  const missing = missingPackages(packages);
  return missing.length === 0
    ? null
    : `not installed, and deploy/setup.sh --for bench could not install it: ${missing.join(', ')}`;
}
