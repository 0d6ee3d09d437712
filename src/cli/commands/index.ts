/** Every command of `weft`, in the order in which `--help` lists them. A command is one file that registers itself. */
import type { Command } from 'commander';
import { register as agent } from './agent.js';
import { register as capture } from './capture.js';
import { register as completion } from './completion.js';
import { register as conntrack } from './conntrack.js';
import { register as doctor } from './doctor.js';
import { register as drops } from './drops.js';
import { register as flows } from './flows.js';
import { register as install } from './install.js';
import { register as lab } from './lab.js';
import { register as metrics } from './metrics.js';
import { register as policy } from './policy.js';
import { register as ports } from './ports.js';
import { register as relay } from './relay.js';
import { register as status } from './status.js';
import { register as runSwitch } from './switch.js';
import { register as sysdump } from './sysdump.js';
import { register as tune } from './tune.js';
import { register as uninstall } from './uninstall.js';
import { register as why } from './why.js';

export const commands: readonly ((program: Command) => void)[] = [
  lab,
  policy,
  why,
  status,
  doctor,
  flows,
  drops,
  capture,
  ports,
  conntrack,
  metrics,
  sysdump,
  tune,
  install,
  uninstall,
  agent,
  runSwitch,
  completion,
  relay,
];
