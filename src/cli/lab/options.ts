/** Options that several commands of a lab have. */
import { Option } from 'commander';
import { usualName } from '../../lab/launch.js';

export interface Named {
  readonly name: string;
}
export const nameOption = () =>
  new Option('--name <name>', 'which lab, where there are several').default(usualName);
export const outputOption = () =>
  new Option('-o, --output <format>', 'how to print')
    .choices(['table', 'wide', 'json', 'yaml'])
    .default('table');
