/**
 * Whether a text nests deeper than any manifest does. The YAML reader and everything that walks its result recurse, and text is input from
 * outside: a hundred thousand brackets must give a sentence, not a crash (near the end of its stack Node.js aborts in places where no
 * exception can be caught). The scan is rough on purpose. It may count a bracket inside a plain text that opens nothing; a thousand more
 * openings than closings do not happen by chance.
 */
export const deepest = 500;

/** Offset of the place where the text becomes too deep, or -1. */
export function tooDeepAt(text: string): number {
  let open = 0;
  for (let i = 0, lineStart = true; i < text.length; i++) {
    const char = text[i];
    if (char === '\n') lineStart = true;
    else if (lineStart) {
      const end = indicatorsEnd(text, i);
      if (end < 0) return i;
      lineStart = false;
      i = end - 1;
    } else if (char === '"') i = closingQuote(text, i);
    else if (char === '[' || char === '{') {
      if (++open > deepest) return i;
    } else if ((char === ']' || char === '}') && open > 0) open--;
  }
  return -1;
}

/** Past the indentation and a run of `- ` and `? `, each of which opens a level; -1 where there are too many. */
function indicatorsEnd(text: string, start: number): number {
  let levels = 0;
  let i = start;
  for (; i < text.length; i++) {
    const char = text[i];
    if (char === ' ' || char === '\t') continue;
    if ((char !== '-' && char !== '?') || !/[\s]/.test(text[i + 1] ?? '\n')) break;
    if (++levels > deepest) return -1;
  }
  // Indentation is nesting too: a level takes at least one column.
  return i - start > 4 * deepest ? -1 : i;
}

/** Offset of the quote that ends a quoted text, so that brackets inside it do not count; the line's end where there is none. */
function closingQuote(text: string, start: number): number {
  for (let i = start + 1; i < text.length; i++) {
    if (text[i] === '\\') i++;
    else if (text[i] === '"') return i;
    else if (text[i] === '\n') return i - 1;
  }
  return text.length;
}
