/**
 * Objects that would be left out although they close something: a policy whose kind, name or namespace cannot be read or that slid into
 * another object, a namespace without which a rule's NotIn would match. All else that is wrong is decoded closed (`decode.ts`); of these
 * nobody knows what they would have closed, so whoever can wait waits, and whoever is asked refuses.
 */
import type { Problem } from '../errors/problem.js';
import { decodeNamespace } from './decode-cluster.js';
import { decodePolicy } from './decode-policy.js';
import { recognise } from './kinds.js';
import type { KubernetesObject, ManifestObject } from './object.js';
import { hasOnly, isAbsent, labelsFrom, objectOf } from './plain.js';
import { metadataFields } from './shapes.js';
import { policyFields, validateObjects } from './validate.js';

/** What is wrong with each object that is lost; empty where none is. */
export function losses(objects: readonly ManifestObject[]): Problem[] {
  return objects.flatMap((origin) => {
    const { value } = origin;
    const kind = recognise(value)?.name;
    // Most objects are pods in which nothing of a policy is found; to validate them would cost more than all else.
    if (
      kind !== undefined &&
      !isElsewhere(value) &&
      kind !== 'NetworkPolicy' &&
      kind !== 'Namespace' &&
      !holdsPolicyField(value)
    )
      return [];
    const errors = validateObjects([origin]).filter(({ severity }) => severity === 'error');
    return isLost(value, errors) ? errors : [];
  });
}

function isLost(value: KubernetesObject, errors: readonly Problem[]): boolean {
  if (errors.some(({ code }) => code === 'unknown-kind' || code === 'policy-inside-object')) return true;
  if (errors.some(({ code }) => code === 'missing-kind')) return looksLikePolicy(value);
  if (isElsewhere(value)) return true;
  switch (recognise(value)?.name) {
    case 'NetworkPolicy':
      return decodePolicy(value) === undefined || mayHaveNamespace(value) || errors.some(isAboutNamespace);
    case 'Namespace':
      return (
        decodeNamespace(value) === undefined || labelsFrom(objectOf(value.metadata).labels) === undefined
      );
    default:
      return false;
  }
}

/** It is read as one of the namespace `default`, which it was not meant for. */
function isElsewhere({ metadata }: KubernetesObject): boolean {
  const { namespace } = objectOf(metadata);
  return !isAbsent(namespace) && typeof namespace !== 'string';
}

/** A field that nobody knows, and no namespace: it may be the namespace, misspelt. */
function mayHaveNamespace({ metadata }: KubernetesObject): boolean {
  const fields = objectOf(metadata);
  return isAbsent(fields.namespace) && !hasOnly(fields, metadataFields);
}

/** A namespace in the wrong place, or one that cannot be: the policy would guard another one. */
function isAboutNamespace({ source }: Problem): boolean {
  return /(^|\.)namespace$/.test(source?.path ?? '');
}

function looksLikePolicy(value: KubernetesObject): boolean {
  return hasPolicyField(value) || hasPolicyField(objectOf(value.spec));
}

function hasPolicyField(value: object): boolean {
  return Object.keys(value).some((field) => policyFields.has(field));
}

/** Anywhere below: a field that only a policy has. The reader bounds the depth. */
function holdsPolicyField(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  if (Array.isArray(value)) return value.some(holdsPolicyField);
  return hasPolicyField(value) || Object.values(value).some(holdsPolicyField);
}
