/** `weft policy`: its commands, each in a file of its own. */
import type { Command } from 'commander';
import { registerLint } from '../lint/command.js';
import { registerAudit } from '../policy/audit.js';
import { registerTest } from '../policy/test-run.js';
import { registerTry } from '../policy/try.js';
import { registerVerdict } from '../policy/verdict.js';

export function register(program: Command): void {
  const policy = program
    .command('policy')
    .description('Check network policies, ask what they allow, and try them on live flows.');
  registerLint(policy);
  registerVerdict(policy);
  registerTest(policy);
  registerAudit(policy);
  registerTry(policy);
}
