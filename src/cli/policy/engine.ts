/**
 * What answers a flow. There are three engines and they must agree: the reference evaluator over the plain objects, the compiled image
 * decoded in TypeScript, and the compiled image looked up by the native code that moves packets. They share the query front-end
 * (`resolve.ts`) and nothing behind it.
 */
import type { Directory } from '../../policy/directory.js';
import { Reference, type ReferenceSide } from '../../policy/evaluate.js';
import type { Flow, FlowVerdict, SideVerdict } from '../../policy/flow.js';

export interface EngineOptions {
  readonly ownNodeEgress: 'allow' | 'judge';
}

export type EngineName = 'native' | 'reference' | 'decoded';

/** Answers flows in their order. */
export type Engine = (flows: readonly Flow[]) => readonly FlowVerdict[];

/** What an engine is made of: the plain objects for the reference, the typed world for the compiled ones. */
export interface EngineInput {
  readonly objects: readonly unknown[];
  readonly directory: Directory;
}

export function referenceEngine(input: EngineInput, options: EngineOptions): Engine {
  const reference = new Reference(input.objects, options);
  return (flows) =>
    flows.map((flow) => {
      const verdict = reference.judge({
        source: flow.source.text,
        destination: flow.destination.text,
        protocol: flow.protocol,
        port: flow.port,
      });
      return { egress: sideOf(verdict.egress), ingress: sideOf(verdict.ingress) };
    });
}

function sideOf(side: ReferenceSide): SideVerdict {
  const { allowed, isolatedBy } = side;
  if (side.exempt !== undefined) return { allowed, reason: side.exempt, isolatedBy };
  if (side.rule !== undefined) {
    return { allowed, reason: 'rule', policy: side.rule.policy, rule: side.rule.index, isolatedBy };
  }
  return { allowed, reason: allowed ? 'not-isolated' : 'isolated', isolatedBy };
}
