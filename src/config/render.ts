/**
 * The option table as a YAML file that documents itself: every option with meaning, unit, bounds, default and what a change needs.
 * `config/default.yaml` is this text; a test holds them equal. The file parses to the defaults, so that it can be copied and edited.
 */
import { Document } from 'yaml';
import { formatDuration, type Option, type Section } from './option.js';
import { options } from './options.js';

const width = 110;

export function renderDefaultConfig(): string {
  const lines = [
    ...comment(options.help, ''),
    ...comment(
      'Every option is listed with its default; delete what you do not change. An unknown option is an error. Durations are written as 500us, 20ms, 30s, 5m, 2h, 1d. `live`: a change is in force after SIGHUP (`kill -HUP` of the agent); `restart`: the process has to be restarted for it.',
      '',
    ),
  ];
  renderSection(options as Section, '', lines);
  return `${lines.join('\n')}\n`;
}

function renderSection(described: Section, indent: string, lines: string[]): void {
  for (const [name, member] of Object.entries(described.members)) {
    if (member.kind === 'section') {
      if (indent === '') lines.push('');
      lines.push(...comment(member.help, indent), `${indent}${name}:`);
      renderSection(member, `${indent}  `, lines);
      continue;
    }
    lines.push(...comment(member.help, indent), ...comment(`[${facts(member)}]`, indent));
    lines.push(`${indent}${name}: ${literal(member)}`);
  }
}

/** Unit, bounds and reload of an option, e.g. `frames, 1 to 1024; live`. */
export function facts(option: Option): string {
  switch (option.kind) {
    case 'integer':
      return `${option.unit}, ${option.minimum} to ${option.maximum}; ${option.reload}`;
    case 'duration':
      return `duration, ${formatDuration(option.minimum)} to ${formatDuration(option.maximum)}; ${option.reload}`;
    case 'choice':
      return `${option.choices.join(', ')}; ${option.reload}`;
    case 'boolean':
      return `true or false; ${option.reload}`;
    case 'text':
      return `${option.what}; ${option.reload}`;
    case 'list':
      return `list, each ${option.what}; ${option.reload}`;
  }
}

function literal(option: Option): string {
  if (option.kind === 'duration') return formatDuration(option.default);
  const document = new Document(option.default);
  if (option.kind === 'list') (document.contents as unknown as { flow: boolean }).flow = true;
  return document.toString({ flowCollectionPadding: false, lineWidth: 0, singleQuote: true }).trim();
}

function comment(text: string, indent: string): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && indent.length + 2 + line.length + 1 + word.length > width) {
      lines.push(`${indent}# ${line}`);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  lines.push(`${indent}# ${line}`);
  return lines;
}
