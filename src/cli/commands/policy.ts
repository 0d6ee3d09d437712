import type { Command } from 'commander';
import { registerVerdict } from '../policy/verdict.js';

export function register(program: Command): void {
  const policy = program
    .command('policy')
    .description('Check network policies, and ask what they allow, without a cluster.');
  registerVerdict(policy);
}
