/**
 * Text without what opens doors. It works on text of any kind (logs, YAML, JSON, command output), since a secret may stand anywhere; what is
 * collected does not hold any in the first place, and this is the second lock. Doubt removes. Every pattern is bounded, so that no line,
 * however long, costs more than its length.
 */
const removed = '<removed>';

/** The part of a field's, option's or variable's name that says that its value is secret, to the end of the name. */
const name =
  '(?:token(?!s?[_-]?(?:bucket|file|path|review))|passw(?:or)?d|passphrase|secret(?!s?[_-]?(?:name|ref))|credential|api[_-]?key|private[_-]?key|client[_-]?key|access[_-]?key|key[_-]data|certificate[_-](?:authority[_-])?data|authorization|(?<!syn)cookie)[\\w-]{0,40}';
/** Between a name and its value, in YAML, JSON, JSON within JSON, and assignments. */
const between = '["\'\\\\]{0,8}\\s{0,3}[:=]\\s{0,3}';

const rules: readonly (readonly [RegExp, string])[] = [
  // Keys and certificates, as they are and in base64.
  [/-----BEGIN [A-Z0-9 ]{1,40}-----[\s\S]*?(?:-----END [A-Z0-9 ]{1,40}-----|$)/g, removed],
  [/LS0tLS1CRUdJTi[A-Za-z0-9+/=]*/g, removed],
  // JSON Web Tokens: three parts in base64url, the first two of which are JSON objects.
  [/eyJ[\w-]{8,1500}\.eyJ[\w-]+(?:\.[\w-]*)?/g, removed],
  // K3s' own: K10<hash>::user:password.
  [/K10[0-9a-f]{16,}::[^\s"',]+/g, removed],
  [/\b(Bearer|Basic)\s{1,3}[\w.~+/=-]{6,}/gi, `$1 ${removed}`],
  // https://user:password@host
  [/(:\/\/)[^\s/@:]{0,256}:[^\s/@]{1,256}@/g, `$1${removed}@`],
  // A block of YAML: what is indented below the name.
  [new RegExp(`(${name}${between})[|>][-+]?[ \\t]*\\n(?:[ \\t]+[^\\n]*(?:\\n|$))+`, 'gi'), `$1${removed}\n`],
  // A value in quotes, which may hold spaces; then any other.
  [new RegExp(`(${name}${between}(\\\\{0,4}["']))(?:(?!\\2)[^\\n])*`, 'gi'), `$1${removed}`],
  [new RegExp(`(${name}${between})[^\\s"'\\\\,;&})]+`, 'gi'), `$1${removed}`],
  [
    new RegExp(`(--(?:\\w{1,20}-){0,4}${name}[ \\t]{1,3})(?!-)(?:"[^"\\n]*"|'[^'\\n]*'|\\S+)`, 'gi'),
    `$1${removed}`,
  ],
];

export function redact(text: string): string {
  return rules.reduce((left, [pattern, by]) => left.replace(pattern, by), text);
}
