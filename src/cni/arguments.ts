/**
 * `CNI_ARGS`: `KEY=value` pairs between semicolons. Kubernetes runtimes name the pod in it. A key that is not known is refused unless
 * the runtime says `IgnoreUnknown`, as the specification's own library does it.
 */
import { CniFailure, cniCodes } from './failure.js';

export interface CniArguments {
  /** Both or neither. */
  readonly podNamespace?: string;
  readonly podName?: string;
  readonly podUid?: string;
  /** Addresses and MAC that are asked for the old way; `runtimeConfig` and `args` go before them. */
  readonly ip?: string;
  readonly mac?: string;
}

const fields = {
  K8S_POD_NAMESPACE: 'podNamespace',
  K8S_POD_NAME: 'podName',
  K8S_POD_UID: 'podUid',
  IP: 'ip',
  MAC: 'mac',
} as const satisfies Readonly<Record<string, keyof CniArguments>>;

/** Known, and without meaning here: the container id is the call's own. */
const others: ReadonlySet<string> = new Set(['K8S_POD_INFRA_CONTAINER_ID', 'IgnoreUnknown']);

/** Throws code 4, naming CNI_ARGS and the key. */
export function readArguments(text: string): CniArguments {
  const pairs = new Map<string, string>();
  for (const pair of text.split(';')) {
    if (pair === '') continue;
    const equals = pair.indexOf('=');
    if (equals <= 0) throw invalid(`the part ${JSON.stringify(pair.slice(0, 100))} is not KEY=value`);
    pairs.set(pair.slice(0, equals), pair.slice(equals + 1));
  }
  const ignore = /^(1|t|true)$/i.test(pairs.get('IgnoreUnknown') ?? '');
  const found: Record<string, string> = {};
  for (const [key, value] of pairs) {
    if (Object.hasOwn(fields, key)) {
      if (value !== '') found[fields[key as keyof typeof fields]] = value;
    } else if (!others.has(key) && !ignore) {
      throw invalid(`the key ${key.slice(0, 100)} is not known (IgnoreUnknown=1 would let it pass)`);
    }
  }
  const read: CniArguments = found;
  if ((read.podNamespace === undefined) !== (read.podName === undefined))
    throw invalid(
      `${read.podName === undefined ? 'K8S_POD_NAME' : 'K8S_POD_NAMESPACE'} is missing beside the other`,
    );
  return read;
}

function invalid(what: string): CniFailure {
  return new CniFailure(
    cniCodes.invalidEnvironment,
    'invalid environment variable CNI_ARGS',
    `In CNI_ARGS ${what}.`,
  );
}
