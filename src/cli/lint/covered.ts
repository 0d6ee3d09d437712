/**
 * Rules that change nothing, because another rule of the same direction allows all they allow to all the pods they are for. The test
 * is by form (a selector with more requirements is narrower, a block inside another is smaller), so it never calls a rule covered that is not.
 */
import { formatSource, type Problem } from '../../errors/problem.js';
import { formatPath } from '../../manifests/object.js';
import type { PolicyPeer, PolicyPort, PolicyRule } from '../../model/policy.js';
import type { Selector } from '../../model/selector.js';
import { containsBlock } from '../../net/cidr.js';
import { problemAt, type Scene, type ScenePolicy } from './scene.js';

interface Place {
  readonly entry: ScenePolicy;
  readonly direction: 'ingress' | 'egress';
  readonly index: number;
  readonly rule: PolicyRule;
}

export function lintCoveredRules(scene: Scene): Problem[] {
  const places = scene.policies.flatMap((entry) =>
    (['ingress', 'egress'] as const).flatMap((direction) =>
      (entry.policy[direction] ?? []).map((rule, index): Place => ({ entry, direction, index, rule })),
    ),
  );
  const groups = new Map<string, Place[]>();
  for (const place of places) {
    const key = `${place.direction} ${place.entry.policy.namespace}`;
    groups.set(key, [...(groups.get(key) ?? []), place]);
  }
  return [...groups.values()].flatMap((group) =>
    group.flatMap((place, at) => {
      // Of two equal rules the later one is the superfluous one.
      const wider = group.find(
        (other, position) =>
          other !== place && covers(other, place) && (position < at || !covers(place, other)),
      );
      return wider === undefined ? [] : [coveredProblem(place, wider)];
    }),
  );
}

function coveredProblem(place: Place, wider: Place): Problem {
  const path = ['spec', place.direction, place.index];
  const widerPath = ['spec', wider.direction, wider.index];
  const other =
    wider.entry === place.entry
      ? formatPath(widerPath)
      : `${formatPath(widerPath)} of ${wider.entry.policy.name} (${formatSource(wider.entry.origin.locate(widerPath))})`;
  return problemAt(place.entry.origin, path, {
    code: 'rule-covered',
    severity: 'warning',
    message: `${formatPath(path)} changes nothing: ${other} allows all of it already.`,
    fix: 'Remove it, or narrow the wider rule if that allows more than was meant.',
  });
}

function covers(wide: Place, narrow: Place): boolean {
  return (
    narrows(narrow.entry.policy.podSelector, wide.entry.policy.podSelector) &&
    coversAll(wide.rule.peers, narrow.rule.peers, peerCovers) &&
    coversAll(wide.rule.ports, narrow.rule.ports, portCovers) &&
    // A rule that matches nothing has a finding of its own.
    !(narrow.rule.peers ?? []).some((peer) => peer.kind === 'nothing') &&
    !(narrow.rule.ports ?? []).some((port) => port.kind === 'nothing')
  );
}

function coversAll<T>(
  wide: readonly T[] | null,
  narrow: readonly T[] | null,
  covers: (wide: T, narrow: T) => boolean,
): boolean {
  if (wide === null) return true;
  if (narrow === null) return false;
  return narrow.every((item) => wide.some((candidate) => covers(candidate, item)));
}

/** Whether everything that `narrow` selects is selected by `wide`, as far as their requirements show. */
function narrows(narrow: Selector, wide: Selector): boolean {
  const have = new Set(narrow.requirements.map((requirement) => JSON.stringify(requirement)));
  return wide.requirements.every((requirement) => have.has(JSON.stringify(requirement)));
}

function peerCovers(wide: PolicyPeer, narrow: PolicyPeer): boolean {
  if (wide.kind === 'pods' && narrow.kind === 'pods') {
    const sameSpaces =
      wide.namespaceSelector === undefined
        ? narrow.namespaceSelector === undefined
        : narrow.namespaceSelector !== undefined && narrows(narrow.namespaceSelector, wide.namespaceSelector);
    const wider = wide.podSelector;
    return (
      sameSpaces &&
      (wider === undefined ||
        wider.requirements.length === 0 ||
        (narrow.podSelector !== undefined && narrows(narrow.podSelector, wider)))
    );
  }
  if (wide.kind !== 'block' || narrow.kind !== 'block' || !containsBlock(wide.cidr, narrow.cidr))
    return false;
  return wide.except.every(
    (hole) =>
      (!containsBlock(narrow.cidr, hole) && !containsBlock(hole, narrow.cidr)) ||
      narrow.except.some((other) => containsBlock(other, hole)),
  );
}

function portCovers(wide: PolicyPort, narrow: PolicyPort): boolean {
  if (wide.kind === 'nothing' || narrow.kind === 'nothing' || wide.protocol !== narrow.protocol) return false;
  if (wide.kind === 'protocol') return true;
  if (wide.kind === 'named') return narrow.kind === 'named' && narrow.name === wide.name;
  return narrow.kind === 'range' && narrow.first >= wide.first && narrow.last <= wide.last;
}
