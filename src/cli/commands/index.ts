/** Every command of `weft`, in the order in which `--help` lists them. A command is one file that registers itself. */
import type { Command } from 'commander';
import { register as lab } from './lab.js';
import { register as policy } from './policy.js';
import { register as runSwitch } from './switch.js';

export const commands: readonly ((program: Command) => void)[] = [lab, policy, runSwitch];
