/** Every command of `weft`, in the order in which `--help` lists them. A command is one file that registers itself. */
import type { Command } from 'commander';

export const commands: readonly ((program: Command) => void)[] = [];
