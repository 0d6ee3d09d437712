/** Pods and the workloads that make them: what bears on policy, which is labels, ports and where the pod runs. */
import { isLabelValue } from './decode-selector.js';
import type { FieldPath } from './object.js';
import { isAbsent, isPlainObject, isPortName, isPortNumber, objectOf, type PlainObject } from './plain.js';
import { describe, type Report } from './shape.js';
import { validateLabels } from './validate-names.js';
import { validateSelector } from './validate-selector.js';

const protocols = ['TCP', 'UDP', 'SCTP'];

export function validatePod(spec: PlainObject, path: FieldPath, report: Report): void {
  if (!Array.isArray(spec.containers) || spec.containers.length === 0) {
    report({
      code: 'missing-field',
      severity: 'warning',
      path: [...path, 'containers'],
      message: 'The pod has no containers.',
      fix: 'Write spec.containers with at least name and image; only its ports matter to weft.',
    });
  }
  for (const field of ['containers', 'initContainers'] as const) {
    const containers = spec[field];
    if (!Array.isArray(containers)) continue;
    containers.forEach((container: unknown, index) => {
      validateContainer(objectOf(container), [...path, field, index], report);
    });
  }
}

function validateContainer(container: PlainObject, path: FieldPath, report: Report): void {
  if (!Array.isArray(container.ports)) return;
  container.ports.forEach((entry: unknown, index) => {
    if (isPlainObject(entry)) validateContainerPort(entry, [...path, 'ports', index], report);
  });
}

function validateContainerPort(entry: PlainObject, path: FieldPath, report: Report): void {
  const { containerPort, name, protocol } = entry;
  if (!isPortNumber(containerPort) && (isAbsent(containerPort) || typeof containerPort === 'number')) {
    report({
      code: 'invalid-port',
      path: [...path, 'containerPort'],
      message: `containerPort must be a number from 1 to 65535; ${describe(containerPort)} was found.`,
      fix: 'Write the number that the container listens on.',
    });
  }
  if (typeof name === 'string' && !isPortName(name)) {
    report({
      code: 'invalid-port',
      path: [...path, 'name'],
      message: `"${name}" is no port name: at most 15 lower-case letters, digits and single "-", with a letter among them.`,
      fix: 'Shorten or respell it; policies refer to the port by this name.',
    });
  }
  if (!isAbsent(protocol) && !protocols.includes(protocol as string)) {
    const upper = String(protocol).toUpperCase();
    report({
      code: 'invalid-protocol',
      path: [...path, 'protocol'],
      message: `protocol must be TCP, UDP or SCTP; ${describe(protocol)} was found.`,
      fix: protocols.includes(upper) ? `Write ${upper}, in capitals.` : 'Write TCP, UDP or SCTP.',
    });
  }
}

/** A workload whose selector does not match its own template never gets past an API server. */
export function validateWorkload(spec: PlainObject, kind: string, report: Report): void {
  const template = objectOf(spec.template);
  const path = ['spec', 'template'];
  if (!isPlainObject(spec.template)) {
    report({
      code: 'missing-field',
      path,
      message: `The ${kind} has no spec.template, so it has no pods.`,
      fix: 'Write spec.template with metadata.labels and spec.containers.',
    });
    return;
  }
  const labels = objectOf(template.metadata).labels;
  validateLabels(labels, [...path, 'metadata', 'labels'], report);
  validatePod(objectOf(template.spec), [...path, 'spec'], report);
  validateSelector(spec.selector, ['spec', 'selector'], report);
  if (typeof spec.replicas === 'number' && spec.replicas < 0) {
    report({
      code: 'invalid-count',
      path: ['spec', 'replicas'],
      message: `replicas must be 0 or more; ${spec.replicas} was found.`,
      fix: 'Write how many pods there are.',
    });
  }
  if (kind === 'Job' || !isPlainObject(spec.selector)) return;
  for (const [key, value] of Object.entries(objectOf(spec.selector.matchLabels))) {
    const own = objectOf(labels)[key];
    if (own === value || !isLabelValue(value)) continue;
    report({
      code: 'selector-template-mismatch',
      path: ['spec', 'selector', 'matchLabels', key],
      message: `spec.selector asks for ${key}=${value}, but the pods of this ${kind} have ${own === undefined ? 'no such label' : `${key}=${String(own)}`}.`,
      fix: `Write ${key}: ${value} in spec.template.metadata.labels, or correct the selector.`,
    });
  }
}
