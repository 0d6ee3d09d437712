/** Results as JUnit XML, one suite a file, as CI servers read it. */

export interface TestResult {
  readonly name: string;
  readonly file: string;
  readonly line: number;
  readonly passed: boolean;
  readonly expected: 'allow' | 'deny';
  readonly found: 'allow' | 'deny' | 'no answer';
  /** Of a test that did not hold: the explanation, as `weft why` prints it. */
  readonly explanation?: string;
}

export function printJunit(results: readonly TestResult[]): string {
  const files = [...new Set(results.map((result) => result.file))];
  const failures = results.filter((result) => !result.passed).length;
  const suites = files.map((file) => {
    const own = results.filter((result) => result.file === file);
    const failed = own.filter((result) => !result.passed).length;
    return `  <testsuite name="${escapeXml(file)}" tests="${own.length}" failures="${failed}" errors="0">\n${own.map(testCase).join('')}  </testsuite>\n`;
  });
  return `<?xml version="1.0" encoding="UTF-8"?>\n<testsuites name="weft policy test" tests="${results.length}" failures="${failures}" errors="0">\n${suites.join('')}</testsuites>\n`;
}

function testCase(result: TestResult): string {
  const head = `    <testcase name="${escapeXml(result.name)}" classname="${escapeXml(result.file)}" file="${escapeXml(result.file)}" line="${result.line}"`;
  if (result.passed) return `${head}/>\n`;
  const message = `expected ${result.expected}, found ${result.found}`;
  return `${head}>\n      <failure message="${message}">${escapeXml(result.explanation ?? '')}</failure>\n    </testcase>\n`;
}

/** Characters that XML 1.0 does not allow at all are left out. */
function escapeXml(text: string): string {
  return text
    .replace(/[^\t\n\r\u0020-\uD7FF\uE000-\uFFFD\u{10000}-\u{10FFFF}]/gu, '')
    .replace(/&/g, '&amp;')
    .replace(/</g, '&lt;')
    .replace(/>/g, '&gt;')
    .replace(/"/g, '&quot;')
    .replace(/'/g, '&apos;')
    .replace(/\n/g, '&#10;');
}
