/**
 * Shows the line that something is about with a caret under it:
 *
 *     12 |     cidr: 10.0.0.0/33
 *        |           ^^^^^^^^^^^
 */
const widestLine = 120;

/** `line` and `column` start at 1; `length` in characters, cut at the end of the line. '' when there is no such line. */
export function caretFrame(text: string, line: number, column: number, length = 1): string {
  const whole = text.split('\n', line)[line - 1]?.replace(/\r$/, '');
  return whole === undefined ? '' : caretLine(whole, line, column, length);
}

/** The same for a line that is at hand, for whoever shows many of one text. */
export function caretLine(whole: string, line: number, column: number, length = 1): string {
  // A long line is shown around the column, so that the caret stays in sight.
  const start = column > widestLine ? column - Math.floor(widestLine / 2) : 0;
  const shown = whole.slice(start, start + widestLine);
  const number = String(line);
  // Tabs are kept in the margin, so that the caret stands right whatever a terminal makes of them.
  const margin = shown.slice(0, column - 1 - start).replace(/[^\t]/g, ' ');
  const carets = '^'.repeat(Math.max(1, Math.min(length, shown.length - (column - 1 - start))));
  return `${number} | ${shown}\n${' '.repeat(number.length)} | ${margin}${carets}`;
}
