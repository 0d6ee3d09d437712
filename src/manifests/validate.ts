/**
 * What the API server would have said, for manifests that never met one: fields, types, names, selectors, ports, blocks. Every finding
 * names the place, what was found and what is allowed. Nothing here changes what an object means; `decode.ts` does that, closed.
 *
 * Source: ValidateNetworkPolicy, ValidatePod, ValidateService and their like in kubernetes/pkg/apis, and the field documentation.
 */
import type { Problem } from '../errors/problem.js';
import { groupOf, knownKinds, meantKind, recognise } from './kinds.js';
import type { FieldPath, ManifestObject } from './object.js';
import { isPlainObject, objectOf } from './plain.js';
import { checkShape, describe, type Report, reportInto } from './shape.js';
import { shapes } from './shapes.js';
import { validateMetadata } from './validate-names.js';
import { validatePolicy } from './validate-policy.js';
import { validateEndpoints, validateService } from './validate-service.js';
import { validatePod, validateWorkload } from './validate-workload.js';

/** Problems of every object, in the order of the objects. Kinds that weft does not read pass, unless they look like a policy. */
export function validateObjects(objects: readonly ManifestObject[]): Problem[] {
  const problems: Problem[] = [];
  for (const origin of objects) validateObject(origin, reportInto(problems, origin));
  return problems;
}

function validateObject(origin: ManifestObject, report: Report): void {
  const { value } = origin;
  if (typeof value.kind !== 'string' || value.kind === '') {
    // Expected verdicts for `weft policy test` live beside the manifests and are no objects.
    if (value.kind === undefined && Array.isArray(value.tests)) return;
    report({
      code: 'missing-kind',
      path: ['kind'],
      message: `The object has no kind; ${describe(value.kind)} was found.`,
      fix: 'Write apiVersion, kind and metadata in every document, for example kind: NetworkPolicy.',
    });
    return;
  }
  const known = recognise(value);
  if (known === undefined) {
    validateMeantKind(value, report);
    return;
  }
  const { name: kind } = known;
  validateApiVersion(origin, kind, report);
  checkShape(value, {
    root: shapes[kind]!,
    kind,
    report: nestedPolicies(value, kind, report),
    unknown: kind === 'NetworkPolicy' ? 'error' : 'warning',
  });
  validateMetadata(value, kind, report);
  switch (kind) {
    case 'NetworkPolicy':
      validatePolicy(objectOf(value.spec), report);
      break;
    case 'Pod':
      validatePod(objectOf(value.spec), ['spec'], report);
      break;
    case 'Service':
      validateService(objectOf(value.spec), report);
      break;
    case 'Endpoints':
    case 'EndpointSlice':
      validateEndpoints(value, report);
      break;
    case 'Namespace':
    case 'Node':
      break;
    default:
      validateWorkload(objectOf(value.spec), kind, report);
  }
}

function validateMeantKind(value: ManifestObject['value'], report: Report): void {
  const meant = meantKind(value);
  if (meant === undefined) return;
  const { name, apiVersion } = meant;
  const isMisspelt = value.kind !== name;
  report({
    code: 'unknown-kind',
    path: [isMisspelt ? 'kind' : 'apiVersion'],
    message: isMisspelt
      ? `"${String(value.kind)}" is no kind; "${name}" is.`
      : `There is no ${name} in ${String(value.apiVersion)}; it is in ${apiVersion}.`,
    fix: isMisspelt ? `Write kind: ${name}.` : `Write apiVersion: ${apiVersion}.`,
  });
}

function validateApiVersion({ value }: ManifestObject, kind: string, report: Report): void {
  const expected = knownKinds.get(kind)!.apiVersion;
  const group = groupOf(value);
  if (group === undefined) {
    report({
      code: 'missing-api-version',
      path: ['apiVersion'],
      message: `The ${kind} has no apiVersion.`,
      fix: `Write apiVersion: ${expected}.`,
    });
  } else if (group === 'extensions') {
    report({
      code: 'removed-api-version',
      path: ['apiVersion'],
      message: `${String(value.apiVersion)} was removed from Kubernetes; ${kind} is in ${expected}.`,
      fix: `Write apiVersion: ${expected}.`,
    });
  } else if (value.apiVersion !== expected) {
    report({
      code: 'api-version',
      severity: 'warning',
      path: ['apiVersion'],
      message: `${String(value.apiVersion)} is not the current version of ${kind}; ${expected} is.`,
      fix: `Write apiVersion: ${expected}.`,
    });
  }
}

export const policyFields: ReadonlySet<string> = new Set(['podSelector', 'policyTypes', 'ingress', 'egress']);

function at(value: unknown, path: FieldPath): unknown {
  return path.reduce<unknown>(
    (node, part) =>
      isPlainObject(node) ? node[part] : Array.isArray(node) ? node[part as number] : undefined,
    value,
  );
}

/** A NetworkPolicy that slid into another object gets one finding that says so instead of one for each of its fields. */
function nestedPolicies(value: unknown, kind: string, report: Report): Report {
  if (kind === 'NetworkPolicy') return report;
  let said = false;
  return (finding) => {
    const last = String(finding.path[finding.path.length - 1] ?? '');
    // The policy is the unknown field's value, or its fields were mixed with those of the mapping that they slid into.
    const isPolicy = [finding.path, finding.path.slice(0, -1)].some((path) => {
      const here = at(value, path);
      return path.length > 0 && isPlainObject(here) && here.kind === 'NetworkPolicy';
    });
    if (finding.code !== 'wrong-type' && (isPolicy || policyFields.has(last))) {
      if (said) return;
      said = true;
      report({
        code: 'policy-inside-object',
        path: finding.path,
        what: 'key',
        message: `A NetworkPolicy stands inside this ${kind} ("${last}"); nothing enforces it there.`,
        fix: 'Give the NetworkPolicy a document of its own: put --- before it, with apiVersion, kind, metadata and spec.',
      });
      return;
    }
    report(finding);
  };
}
