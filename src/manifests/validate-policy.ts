/** The spec of a NetworkPolicy, as `ValidateNetworkPolicySpec` of kubernetes/pkg/apis/networking. */
import { closestName } from '../errors/closest.js';
import { containsBlock, parseCidr } from '../net/cidr.js';
import { type FieldPath, formatPath } from './object.js';
import { isAbsent, isPlainObject, isPortName, isPortNumber, objectOf, type PlainObject } from './plain.js';
import { describe, type Report } from './shape.js';
import { reportEmptyEntry, validateSelector } from './validate-selector.js';

export function validatePolicy(spec: PlainObject, report: Report): void {
  validateSelector(spec.podSelector, ['spec', 'podSelector'], report);
  validateTypes(spec.policyTypes, report);
  for (const [direction, peers] of [
    ['ingress', 'from'],
    ['egress', 'to'],
  ] as const) {
    const rules = spec[direction];
    if (!Array.isArray(rules)) continue;
    rules.forEach((rule: unknown, index) => {
      const path = ['spec', direction, index];
      const fields = objectOf(rule);
      if (isAbsent(rule)) {
        report({
          code: 'empty-entry',
          severity: 'warning',
          path,
          message: `${formatPath(path)} is empty, which allows every ${direction === 'ingress' ? 'source' : 'destination'} and port.`,
          fix: 'Write {} if everything is meant to be allowed, else say whom and which ports.',
        });
      }
      each(fields[peers], [...path, peers], report, validatePeer);
      each(fields.ports, [...path, 'ports'], report, validatePort);
    });
  }
}

function each(
  items: unknown,
  path: FieldPath,
  report: Report,
  validate: (item: PlainObject, path: FieldPath, report: Report) => void,
): void {
  if (!Array.isArray(items)) return;
  items.forEach((item: unknown, index) => {
    if (isPlainObject(item)) validate(item, [...path, index], report);
    else reportEmptyEntry(item, [...path, index], report);
  });
}

const typeNames = ['Ingress', 'Egress'];

function validateTypes(types: unknown, report: Report): void {
  if (!Array.isArray(types)) return;
  const path = ['spec', 'policyTypes'];
  types.forEach((type: unknown, index) => {
    if (typeNames.includes(type as string)) {
      if (types.indexOf(type) !== index) {
        report({
          code: 'repeated-value',
          severity: 'warning',
          path: [...path, index],
          message: `spec.policyTypes names ${String(type)} twice.`,
          fix: 'Name each direction once.',
        });
      }
      return;
    }
    const near = typeof type === 'string' ? closestName(type, typeNames) : null;
    report({
      code: 'invalid-policy-type',
      path: [...path, index],
      message: `spec.policyTypes may hold Ingress and Egress, in just this spelling; ${describe(type)} was found.`,
      fix: `Write ${near ?? 'Ingress or Egress'}.`,
    });
  });
}

const peerFields = ['podSelector', 'namespaceSelector', 'ipBlock'];

function validatePeer(peer: PlainObject, path: FieldPath, report: Report): void {
  const { podSelector, namespaceSelector, ipBlock } = peer;
  const selectors = (['podSelector', 'namespaceSelector'] as const).filter((field) => !isAbsent(peer[field]));
  // A peer with a field that nobody knows has its finding already.
  const known = Object.keys(peer).every((field) => peerFields.includes(field));
  if (known && isAbsent(ipBlock) && selectors.length === 0) {
    const unset = peerFields.find((field) => Object.hasOwn(peer, field));
    report({
      code: 'empty-peer',
      path,
      message:
        unset === undefined
          ? `${formatPath(path)} has none of podSelector, namespaceSelector and ipBlock, so it matches nobody.`
          : `${formatPath(path)}.${unset} has nothing in it, so the peer matches nobody.`,
      fix: 'Say who is meant: podSelector: {} is every pod of the namespace, namespaceSelector: {} every pod of every namespace.',
    });
  }
  for (const field of selectors) {
    if (isAbsent(ipBlock)) continue;
    report({
      code: 'peer-combination',
      path: [...path, field],
      what: 'key',
      message: `${field} stands beside ipBlock; an entry with ipBlock has nothing else in it.`,
      fix: `Make ${field} an entry of its own ("- ${field}: …").`,
    });
  }
  validateSelector(podSelector, [...path, 'podSelector'], report);
  validateSelector(namespaceSelector, [...path, 'namespaceSelector'], report);
  if (isPlainObject(ipBlock)) validateBlock(ipBlock, [...path, 'ipBlock'], report);
}

function validateBlock(block: PlainObject, path: FieldPath, report: Report): void {
  if (isAbsent(block.cidr) || block.cidr === '') {
    report({
      code: 'missing-field',
      path: [...path, 'cidr'],
      message: `${formatPath(path)} has no cidr.`,
      fix: 'Write cidr: 10.0.0.0/8, or podSelector and namespaceSelector for pods.',
    });
    return;
  }
  const outer = checkCidr(block.cidr, [...path, 'cidr'], report);
  if (!Array.isArray(block.except)) return;
  block.except.forEach((text: unknown, index) => {
    const at = [...path, 'except', index];
    const inner = checkCidr(text, at, report);
    if (outer === undefined || inner === undefined) return;
    if (containsBlock(outer, inner) && inner.length > outer.length) return;
    const outside = !containsBlock(outer, inner);
    report({
      code: 'except-outside-block',
      path: at,
      message: `except ${inner.text} is ${outside ? 'not inside of' : 'all of'} cidr ${outer.text}; it must be a smaller part of it.`,
      fix: outside
        ? 'Remove it, or correct one of the two.'
        : 'Remove the whole ipBlock: nothing is left of it.',
    });
  });
}

function checkCidr(text: unknown, path: FieldPath, report: Report) {
  if (typeof text !== 'string') {
    if (isAbsent(text)) reportEmptyEntry(text, path, report);
    return undefined;
  }
  const parsed = parseCidr(text);
  if (parsed === undefined) {
    const isAddress = parseCidr(`${text}/32`) ?? parseCidr(`${text}/128`);
    report({
      code: 'invalid-cidr',
      path,
      message: `${formatPath(path)}: cidr "${text}" is no block of addresses.`,
      fix:
        isAddress === undefined
          ? 'Write address/length, length from 0 to 32 (IPv4) or 128 (IPv6), for example 10.0.0.0/8 or fd00::/64.'
          : `Write ${text}/${text.includes(':') ? 128 : 32} for a single address.`,
    });
    return undefined;
  }
  if (parsed.notes.length > 0) {
    const why = parsed.notes.includes('mapped')
      ? 'is an IPv4 block written as IPv6'
      : 'has bits set behind its length';
    report({
      code: 'cidr-normalised',
      severity: 'warning',
      path,
      message: `cidr "${text}" ${why}; it is read as ${parsed.cidr.text}.`,
      fix: `Write ${parsed.cidr.text}.`,
    });
  }
  return parsed.cidr;
}

const protocols = ['TCP', 'UDP', 'SCTP'];

function validatePort(entry: PlainObject, path: FieldPath, report: Report): void {
  const { protocol, port, endPort } = entry;
  if (!isAbsent(protocol) && !protocols.includes(protocol as string)) {
    report({
      code: 'invalid-protocol',
      path: [...path, 'protocol'],
      message: `protocol must be TCP, UDP or SCTP; ${describe(protocol)} was found.`,
      fix: protocolFix(protocol),
    });
  }
  if (typeof port === 'number' && !isPortNumber(port)) {
    report({
      code: 'invalid-port',
      path: [...path, 'port'],
      message: `port must be a number from 1 to 65535 or a port's name; ${describe(port)} was found.`,
      fix: 'Write the number of the container port.',
    });
  } else if (typeof port === 'string' && !isPortName(port)) {
    report({
      code: 'invalid-port',
      path: [...path, 'port'],
      message: `port "${port}" is no port name: at most 15 lower-case letters, digits and single "-", with a letter among them.`,
      fix: /^[0-9]+$/.test(port)
        ? `Remove the quotes: port: ${port}.`
        : 'Write the name that the container gives its port, or the number.',
    });
  }
  if (!isAbsent(endPort)) validateEndPort(port, endPort, path, report);
}

function protocolFix(protocol: unknown): string {
  const upper = String(protocol).toUpperCase();
  if (protocols.includes(upper)) return `Write ${upper}, in capitals.`;
  if (upper.startsWith('ICMP')) {
    return 'Remove the entry: a policy cannot name ICMP; a rule without ports allows it along with everything else.';
  }
  return 'Write TCP (HTTP, TLS and most others run over it), UDP or SCTP.';
}

function validateEndPort(port: unknown, endPort: unknown, path: FieldPath, report: Report): void {
  const at = [...path, 'endPort'];
  const say = (message: string, fix: string) => {
    report({ code: 'invalid-end-port', path: at, message, fix });
  };
  if (isAbsent(port)) {
    say('endPort needs a port before it.', 'Write port: the first of the range.');
  } else if (typeof port === 'string') {
    say(
      `endPort goes with a numeric port only; port is "${port}".`,
      'Write the range in numbers, or remove endPort.',
    );
  } else if (typeof endPort === 'number' && !isPortNumber(endPort)) {
    say(
      `endPort must be a number from 1 to 65535; ${describe(endPort)} was found.`,
      'Write the last port of the range.',
    );
  } else if (typeof port === 'number' && typeof endPort === 'number' && endPort < port) {
    say(`endPort ${endPort} is below port ${port}.`, `Write port: ${endPort} and endPort: ${port}.`);
  }
}
