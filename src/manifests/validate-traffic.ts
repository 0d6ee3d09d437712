/** What a Service says of where its traffic goes, and what a slice says of its endpoints: the fields that choose among endpoints. */
import { parseAddress } from '../net/address.js';
import { parseCidr } from '../net/cidr.js';
import type { FieldPath } from './object.js';
import { isAbsent, isPlainObject, isPortNumber, objectOf, objectsOf, type PlainObject } from './plain.js';
import { describe, type Report } from './shape.js';

/** By field, what it may be. Text that the API server would refuse is taken for the default here, so it has to be told. */
const choices: Readonly<Record<string, readonly string[]>> = {
  sessionAffinity: ['ClientIP', 'None'],
  internalTrafficPolicy: ['Cluster', 'Local'],
  externalTrafficPolicy: ['Cluster', 'Local'],
  ipFamilyPolicy: ['SingleStack', 'PreferDualStack', 'RequireDualStack'],
  trafficDistribution: ['PreferSameZone', 'PreferSameNode', 'PreferClose'],
};
const longestAffinity = 86_400;

export function validateTraffic(spec: PlainObject, report: Report): void {
  for (const [field, allowed] of Object.entries(choices)) {
    const value = spec[field];
    if (typeof value !== 'string' || allowed.includes(value)) continue;
    const meant = allowed.find((one) => one.toLowerCase() === value.toLowerCase()) ?? allowed[0]!;
    say(
      report,
      'invalid-value',
      ['spec', field],
      `${field} must be ${either(allowed)}`,
      value,
      `Write ${meant}.`,
    );
  }
  const external = spec.type === 'NodePort' || spec.type === 'LoadBalancer';
  const reachable = external || (Array.isArray(spec.externalIPs) && spec.externalIPs.length > 0);
  if (spec.externalTrafficPolicy === 'Local' && !reachable)
    refuseUseless(report, 'externalTrafficPolicy', 'counts for NodePort, LoadBalancer and externalIPs only');
  validateAffinity(spec, report);
  validateRanges(spec, report);
  validateFamilies(spec, report);
  validateHealthCheck(spec, report);
}

function validateAffinity(spec: PlainObject, report: Report): void {
  const path = ['spec', 'sessionAffinityConfig', 'clientIP', 'timeoutSeconds'];
  const { timeoutSeconds } = objectOf(objectOf(spec.sessionAffinityConfig).clientIP);
  if (typeof timeoutSeconds === 'number' && (timeoutSeconds < 1 || timeoutSeconds > longestAffinity))
    say(
      report,
      'invalid-value',
      path,
      `timeoutSeconds must be from 1 to ${longestAffinity} (a day)`,
      timeoutSeconds,
      'Write 10800, which is the default.',
    );
  if (!isAbsent(spec.sessionAffinityConfig) && spec.sessionAffinity !== 'ClientIP')
    refuseUseless(report, 'sessionAffinityConfig', 'counts with sessionAffinity: ClientIP only');
}

function validateRanges(spec: PlainObject, report: Report): void {
  const { loadBalancerSourceRanges: ranges } = spec;
  if (!Array.isArray(ranges)) return;
  ranges.forEach((range: unknown, index) => {
    // The API allows spaces around them.
    if (typeof range === 'string' && parseCidr(range.trim()) === undefined)
      say(
        report,
        'invalid-cidr',
        ['spec', 'loadBalancerSourceRanges', index],
        'a CIDR was expected',
        range,
        'Write it as 10.0.0.0/8 or fd00::/8; until then nobody is admitted by it.',
      );
  });
  if (ranges.length > 0 && spec.type !== 'LoadBalancer')
    refuseUseless(report, 'loadBalancerSourceRanges', 'counts for the type LoadBalancer only');
}

function validateFamilies(spec: PlainObject, report: Report): void {
  const { ipFamilies } = spec;
  if (!Array.isArray(ipFamilies)) return;
  ipFamilies.forEach((family: unknown, index) => {
    if (typeof family !== 'string') return;
    const path = ['spec', 'ipFamilies', index];
    if (family !== 'IPv4' && family !== 'IPv6')
      say(report, 'invalid-value', path, 'an IP family must be IPv4 or IPv6', family, 'Write IPv4.');
    else if (ipFamilies.indexOf(family) < index)
      report({
        code: 'repeated-value',
        path,
        message: `${family} is listed twice.`,
        fix: 'Remove one of the two.',
      });
  });
}

function validateHealthCheck(spec: PlainObject, report: Report): void {
  const { healthCheckNodePort: port } = spec;
  if (typeof port !== 'number' || port === 0) return;
  if (!isPortNumber(port))
    say(
      report,
      'invalid-port',
      ['spec', 'healthCheckNodePort'],
      'healthCheckNodePort must be a number from 1 to 65535',
      port,
      'Leave it out; the server chooses one.',
    );
  else if (spec.type !== 'LoadBalancer' || spec.externalTrafficPolicy !== 'Local')
    refuseUseless(
      report,
      'healthCheckNodePort',
      'counts for the type LoadBalancer with externalTrafficPolicy: Local only',
    );
}

/** `value`: an EndpointSlice whose form was checked. */
export function validateSlice(value: PlainObject, report: Report): void {
  const family = value.addressType === 'IPv4' ? 4 : value.addressType === 'IPv6' ? 6 : null;
  objectsOf(value.endpoints).forEach((endpoint, index) => {
    const path = ['endpoints', index];
    const { addresses } = endpoint;
    if (!Array.isArray(addresses) || addresses.length === 0)
      report({
        code: 'missing-field',
        path: [...path, 'addresses'],
        message: 'The endpoint has no address.',
        fix: 'Write addresses with one address.',
      });
    else
      addresses.forEach((text: unknown, place) => {
        if (typeof text !== 'string' || family === null) return;
        if (parseAddress(text)?.family !== family)
          say(
            report,
            'invalid-address',
            [...path, 'addresses', place],
            `an ${String(value.addressType)} address was expected`,
            text,
            family === 4 ? 'Write it as 10.0.0.1.' : 'Write it as fd00::1.',
          );
      });
    for (const field of ['forZones', 'forNodes'] as const)
      objectsOf(objectOf(endpoint.hints)[field]).forEach((hint, place) => {
        if (isAbsent(hint.name) || hint.name === '')
          report({
            code: 'missing-field',
            path: [...path, 'hints', field, place, 'name'],
            message: `A hint of ${field} names nothing.`,
            fix: 'Write name.',
          });
      });
  });
  if (!Array.isArray(value.ports)) return;
  value.ports.forEach((entry: unknown, index) => {
    if (!isPlainObject(entry)) return;
    const { port, protocol } = entry;
    if (typeof port === 'number' && !isPortNumber(port))
      say(
        report,
        'invalid-port',
        ['ports', index, 'port'],
        'port must be a number from 1 to 65535',
        port,
        'Write the port of the endpoints.',
      );
    if (typeof protocol === 'string' && !['TCP', 'UDP', 'SCTP'].includes(protocol))
      say(
        report,
        'invalid-protocol',
        ['ports', index, 'protocol'],
        'protocol must be TCP, UDP or SCTP',
        protocol,
        'Write TCP, UDP or SCTP.',
      );
  });
}

/** What the API server refuses because nothing could come of it. */
function refuseUseless(report: Report, field: string, why: string): void {
  report({
    code: 'invalid-value',
    path: ['spec', field],
    message: `${field} ${why}.`,
    fix: `Remove ${field}, or change what it needs.`,
    what: 'key',
  });
}

function either(names: readonly string[]): string {
  return `${names.slice(0, -1).join(', ')} or ${names.at(-1)}`;
}

function say(report: Report, code: string, path: FieldPath, rule: string, found: unknown, fix: string): void {
  report({ code, path, message: `${rule}; ${describe(found)} was found.`, fix });
}
