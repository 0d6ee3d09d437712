/** Services and their endpoints. */
import { parseAddress } from '../net/address.js';
import type { FieldPath, KubernetesObject } from './object.js';
import { isAbsent, isPlainObject, isPortName, isPortNumber, objectsOf, type PlainObject } from './plain.js';
import { describe, type Report } from './shape.js';
import { validateLabels } from './validate-names.js';
import { validateSlice, validateTraffic } from './validate-traffic.js';

const protocols = ['TCP', 'UDP', 'SCTP'];
const types = ['ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalName'];

export function validateService(spec: PlainObject, report: Report): void {
  const { type, clusterIP } = spec;
  if (!isAbsent(type) && !types.includes(type as string)) {
    say(
      report,
      'invalid-value',
      ['spec', 'type'],
      `type must be one of ${types.join(', ')}`,
      type,
      'Write ClusterIP.',
    );
  }
  if (typeof clusterIP === 'string' && !['', 'None'].includes(clusterIP))
    checkAddress(clusterIP, ['spec', 'clusterIP'], report);
  for (const field of ['clusterIPs', 'externalIPs'] as const) {
    const list = spec[field];
    if (!Array.isArray(list)) continue;
    list.forEach((entry: unknown, index) => {
      if (typeof entry === 'string' && entry !== 'None') checkAddress(entry, ['spec', field, index], report);
    });
  }
  validateLabels(spec.selector, ['spec', 'selector'], report);
  validatePorts(spec, report);
  validateTraffic(spec, report);
}

function validatePorts(spec: PlainObject, report: Report): void {
  const headless = spec.clusterIP === 'None';
  if (!Array.isArray(spec.ports) || spec.ports.length === 0) {
    if (headless || spec.type === 'ExternalName') return;
    report({
      code: 'missing-field',
      path: ['spec', 'ports'],
      message: 'The Service has no ports.',
      fix: 'Write spec.ports with at least one port.',
    });
    return;
  }
  const seen = new Map<string, number>();
  spec.ports.forEach((entry: unknown, index) => {
    const path = ['spec', 'ports', index];
    if (!isPlainObject(entry)) return;
    validatePort(entry, path, report);
    const place = `${String(entry.port)}/${String(entry.protocol ?? 'TCP')}`;
    if (seen.has(place)) {
      report({
        code: 'repeated-value',
        path,
        message: `Port ${place} is listed twice.`,
        fix: 'Remove one of the two; only one target can be behind a port.',
      });
    }
    seen.set(place, index);
    if ((spec.ports as unknown[]).length > 1 && (isAbsent(entry.name) || entry.name === '')) {
      report({
        code: 'missing-field',
        path: [...path, 'name'],
        message: 'Each port of a Service with several ports needs a name.',
        fix: 'Write name: http or the like.',
      });
    }
  });
}

function validatePort(entry: PlainObject, path: FieldPath, report: Report): void {
  const { port, targetPort, protocol, nodePort } = entry;
  if (!isPortNumber(port) && (isAbsent(port) || typeof port === 'number')) {
    say(
      report,
      'invalid-port',
      [...path, 'port'],
      'port must be a number from 1 to 65535',
      port,
      'Write the port that clients use.',
    );
  }
  if (typeof nodePort === 'number' && nodePort !== 0 && !isPortNumber(nodePort)) {
    say(
      report,
      'invalid-port',
      [...path, 'nodePort'],
      'nodePort must be a number from 1 to 65535',
      nodePort,
      'Leave it out; the server chooses one.',
    );
  }
  const target = [...path, 'targetPort'];
  if (typeof targetPort === 'number' && !isPortNumber(targetPort)) {
    say(
      report,
      'invalid-port',
      target,
      'targetPort must be a number from 1 to 65535 or a port name',
      targetPort,
      'Write the container port.',
    );
  } else if (typeof targetPort === 'string' && !isPortName(targetPort)) {
    say(
      report,
      'invalid-port',
      target,
      'targetPort must be a number or a port name of at most 15 lower-case letters, digits and "-"',
      targetPort,
      /^[0-9]+$/.test(targetPort)
        ? `Remove the quotes: targetPort: ${targetPort}.`
        : 'Write the name of the container port.',
    );
  }
  if (!isAbsent(protocol) && !protocols.includes(protocol as string)) {
    const upper = String(protocol).toUpperCase();
    const fix = protocols.includes(upper) ? `Write ${upper}, in capitals.` : 'Write TCP, UDP or SCTP.';
    say(
      report,
      'invalid-protocol',
      [...path, 'protocol'],
      'protocol must be TCP, UDP or SCTP',
      protocol,
      fix,
    );
  }
}

export function validateEndpoints(value: KubernetesObject, report: Report): void {
  if (value.kind === 'Endpoints') {
    objectsOf(value.subsets).forEach((subset, index) => {
      objectsOf(subset.addresses).forEach((entry, place) => {
        if (typeof entry.ip === 'string') {
          checkAddress(entry.ip, ['subsets', index, 'addresses', place, 'ip'], report);
        }
      });
    });
    return;
  }
  if (!['IPv4', 'IPv6', 'FQDN'].includes(value.addressType as string)) {
    say(
      report,
      'invalid-value',
      ['addressType'],
      'addressType must be IPv4, IPv6 or FQDN',
      value.addressType,
      'Write IPv4.',
    );
  }
  validateSlice(value, report);
}

function checkAddress(text: string, path: FieldPath, report: Report): void {
  if (parseAddress(text) !== undefined) return;
  say(
    report,
    'invalid-address',
    path,
    'an IP address was expected',
    text,
    'Write it as 10.0.0.1 or fd00::1.',
  );
}

function say(report: Report, code: string, path: FieldPath, rule: string, found: unknown, fix: string): void {
  report({ code, path, message: `${rule}; ${describe(found)} was found.`, fix });
}
