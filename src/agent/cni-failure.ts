/** Which CNI code an error of the agent or switch is told as: what passes by itself is 11, so that the runtime comes back. */
import { type CniCode, CniFailure, cniCodes } from '../cni/failure.js';
import { WeftError } from '../errors/problem.js';

const later: ReadonlySet<string> = new Set([
  'address-taken',
  'addresses-exhausted',
  'agent-stopping',
  'attach-abandoned',
  'attach-replaced',
  'image-refused',
  'image-write',
  'leases-write',
  'limit-exceeded',
  'pod-cidrs-missing',
  'pod-unknown',
  'port-pending',
  'ports-exhausted',
  'source-not-synced',
  'switch-away',
  'switch-busy',
  'switch-slow',
  'switch-stopping',
]);

/** The path that CNI_NETNS names is not, or no longer, a network namespace. */
const namespaces: ReadonlySet<string> = new Set([
  'namespace-gone',
  'namespace-open',
  'namespace-not-network',
]);

export function cniFailure(error: Error): CniFailure {
  const code = error instanceof WeftError ? error.code : 'agent-internal';
  const details = `${error.message} (${code})`;
  if (namespaces.has(code))
    return new CniFailure(cniCodes.invalidEnvironment, 'invalid environment variable CNI_NETNS', details);
  if (code === 'tap-taken')
    return new CniFailure(cniCodes.interfaceExists, 'the interface is there already', details);
  return new CniFailure(codeOf(code, error.message), messageOf(code), details);
}

function codeOf(code: string, message: string): CniCode {
  if (later.has(code)) return cniCodes.tryAgainLater;
  if (code !== 'attach-invalid') return cniCodes.internal;
  // The names of namespace and pod come in CNI_ARGS.
  return / (namespace|name|uid) has to be /.test(message)
    ? cniCodes.invalidEnvironment
    : cniCodes.invalidConfiguration;
}

function messageOf(code: string): string {
  if (later.has(code)) return 'the pod cannot be connected now';
  return code === 'attach-invalid' ? 'invalid CNI_ARGS or network configuration' : 'the agent failed';
}
