/** What the switch is asked: one interface for each request of its protocol (dataplane/protocol.ts). */
import type { PortSpec, ShadowSpec, SwitchSettings } from './desired-state.js';

export interface HelloRequest {
  readonly id: number;
  readonly type: 'hello';
  readonly role: 'agent' | 'observer';
  /** Required of an agent: a number that grows with each start of an agent on this node. */
  readonly epoch?: number;
}

export interface PublishRequest {
  readonly id: number;
  readonly type: 'publish';
  readonly epoch: number;
  /** Counts the agent's publications; repeated in the acknowledgement. */
  readonly revision: number;
  /** Absolute path of an image file; null keeps the image that is loaded. */
  readonly image: string | null;
  readonly ports: readonly PortSpec[];
  readonly settings?: SwitchSettings;
  /**
   * A trial: this image judges beside the real one and nothing that it says is enforced. In force together with `image`, so that both are
   * of one world. Absent: no trial. It needs a subscription `trial` that is there already, and ends with the last one: whoever
   * began it may vanish. Not kept over a restart of the switch.
   */
  readonly shadow?: ShadowSpec;
}

/** As it is written: the list of ports, or the revision of the publication before on this connection, whose ports they are. */
export type PublishFrame = Omit<PublishRequest, 'ports'> &
  ({ readonly ports: readonly PortSpec[] } | { readonly portsOf: number });

export const queryNames = ['status', 'ports', 'counters', 'connections', 'image', 'explain'] as const;

export type QueryName = (typeof queryNames)[number];

export interface QueryRequest {
  readonly id: number;
  readonly type: 'query';
  readonly what: QueryName;
  /** `connections`, `counters`: only those of this port. */
  readonly port?: string;
  /** `connections`: at most this many (default 1,000). */
  readonly limit?: number;
  /** `explain`: about this connection; required there. */
  readonly flow?: FlowQuestion;
}

/** A connection that might begin: what would become of its first packet? */
export interface FlowQuestion {
  /** Of one family. */
  readonly source: string;
  readonly destination: string;
  /** IANA number. */
  readonly protocol: number;
  /** Of the destination; 0 where the protocol has none. */
  readonly port: number;
}

export interface FlowFilter {
  /** Only what was not forwarded. */
  readonly denied?: boolean;
  /** Only flows that start or end at this port. */
  readonly port?: string;
}

export interface CaptureFilter {
  readonly port: string;
  /** Only dropped packets. */
  readonly drops?: boolean;
  /** Bytes kept of each packet (default 65,535). */
  readonly snapLength?: number;
}

export type SubscribeRequest =
  | { readonly id: number; readonly type: 'subscribe'; readonly what: 'flows'; readonly filter?: FlowFilter }
  | {
      readonly id: number;
      readonly type: 'subscribe';
      readonly what: 'capture';
      readonly filter: CaptureFilter;
    }
  | { readonly id: number; readonly type: 'subscribe'; readonly what: 'trial' };

/** Ends the subscription that the request `subscription` started. */
export interface UnsubscribeRequest {
  readonly id: number;
  readonly type: 'unsubscribe';
  readonly subscription: number;
}
