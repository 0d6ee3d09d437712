/** policyTypes that do not say what the rules say. */
import type { Problem } from '../../errors/problem.js';
import { isAbsent } from '../../manifests/plain.js';
import { problemAt, type Scene } from './scene.js';

export function lintPolicyTypes(scene: Scene): Problem[] {
  return scene.policies.flatMap(({ origin, spec }) => {
    const types = spec.policyTypes;
    const has = (field: string) => Array.isArray(spec[field]) && (spec[field] as unknown[]).length > 0;
    if (isAbsent(types) || (Array.isArray(types) && types.length === 0)) {
      if (!has('egress')) return [];
      const also = has('ingress')
        ? 'Ingress and Egress'
        : 'Ingress and Egress: with no ingress rules nobody may connect to these pods';
      return problemAt(
        origin,
        ['spec', 'egress'],
        {
          code: 'policy-types-missing',
          severity: 'warning',
          message: `There are egress rules and no policyTypes, which means ${also}.`,
          fix: has('ingress')
            ? 'Write policyTypes: [Ingress, Egress].'
            : 'Write policyTypes: [Egress] if only egress is meant.',
        },
        'key',
      );
    }
    if (!Array.isArray(types)) return [];
    return (
      [
        ['ingress', 'Ingress'],
        ['egress', 'Egress'],
      ] as const
    )
      .filter(([field, type]) => has(field) && !types.includes(type))
      .map(([field, type]) =>
        problemAt(
          origin,
          ['spec', field],
          {
            code: 'rules-ignored',
            severity: 'warning',
            message: `The ${field} rules do nothing, because policyTypes does not name ${type}.`,
            fix: `Add ${type} to policyTypes, or remove the rules.`,
          },
          'key',
        ),
      );
  });
}
