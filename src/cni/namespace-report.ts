/** What the plugin saw in the pod's network namespace (native/cni/namespace.h), as a value. */
import { invalidVariable } from './environment.js';
import type { CniFailure } from './failure.js';

export interface SeenInterface {
  readonly name: string;
  /** `tun` for a TAP; '' where the kernel names none. */
  readonly kind: string;
  readonly mac: string;
  readonly mtu: number;
  readonly up: boolean;
  /** With prefix length; only in a CHECK. */
  readonly addresses: readonly string[];
  /** Of the main table, by way of this interface; only in a CHECK. */
  readonly routes: readonly { readonly dst: string; readonly gw?: string }[];
}

export interface NamespaceReport {
  readonly state: 'ok' | 'missing' | 'other' | 'own' | 'closed';
  readonly error: string;
  readonly interface: SeenInterface | null;
}

/** undefined where the plugin has told nothing of the kind. */
export function readNamespaceReport(value: unknown): NamespaceReport | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const report = value as Readonly<Record<string, unknown>>;
  const state = ['ok', 'missing', 'other', 'own', 'closed'].find((one) => one === report.state);
  if (state === undefined) return undefined;
  const raw = report.interface as Partial<SeenInterface> | null | undefined;
  return {
    state: state as NamespaceReport['state'],
    error: typeof report.error === 'string' ? report.error : '',
    interface:
      typeof raw !== 'object' || raw === null
        ? null
        : {
            name: String(raw.name ?? ''),
            kind: String(raw.kind ?? ''),
            mac: String(raw.mac ?? ''),
            mtu: Number(raw.mtu ?? 0),
            up: raw.up === true,
            addresses: Array.isArray(raw.addresses) ? raw.addresses.map(String) : [],
            routes: Array.isArray(raw.routes) ? raw.routes : [],
          },
  };
}

/** Why a namespace cannot be used: code 4, since CNI_NETNS names it. null: it can. */
export function namespaceFailure(report: NamespaceReport, netns: string): CniFailure | null {
  const because = report.error === '' ? '' : ` (${report.error})`;
  switch (report.state) {
    case 'ok':
      return null;
    case 'missing':
      return invalidVariable('CNI_NETNS', netns, `the path of a network namespace that exists${because}`);
    case 'other':
      return invalidVariable('CNI_NETNS', netns, 'the path of a network namespace, not of another one');
    case 'own':
      return invalidVariable(
        'CNI_NETNS',
        netns,
        "another network namespace than the runtime's own (CNI_NETNS_OVERRIDE=1 allows it)",
      );
    case 'closed':
      return invalidVariable('CNI_NETNS', netns, `a namespace that the plugin may enter${because}`);
  }
}
