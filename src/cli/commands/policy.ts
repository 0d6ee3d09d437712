import type { Command } from 'commander';
import { registerLint } from '../lint/command.js';
import { registerAudit } from '../policy/audit.js';
import { registerTest } from '../policy/test-run.js';
import { registerVerdict } from '../policy/verdict.js';

export function register(program: Command): void {
  const policy = program
    .command('policy')
    .description('Check network policies, and ask what they allow, without a cluster.');
  registerLint(policy);
  registerVerdict(policy);
  registerTest(policy);
  registerAudit(policy);
}
