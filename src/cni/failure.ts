/** CNI errors (specification 1.1.0, section 5): a code that the runtime acts on, a short message, details for people. */
import { type CniVersion, newestVersion } from './version.js';

/** Codes below 100 are the specification's. The plugin gives some of them by itself: native/cni/failure.h. */
export const cniCodes = {
  incompatibleVersion: 1,
  unsupportedField: 2,
  unknownContainer: 3,
  invalidEnvironment: 4,
  inputFailure: 5,
  decodingFailure: 6,
  invalidConfiguration: 7,
  tryAgainLater: 11,
  /** STATUS: ADD would fail. */
  notAvailable: 50,
  /** STATUS: ADD would fail, and pods that run are cut off too. */
  notAvailableDegraded: 51,
  internal: 100,
  /** ADD: the namespace has an interface of that name already. */
  interfaceExists: 101,
  /** CHECK: something that ADD made is not as it should be. */
  checkFailed: 102,
  /** GC: some attachments could not be removed. */
  garbageLeft: 103,
} as const;

export type CniCode = (typeof cniCodes)[keyof typeof cniCodes];

export class CniFailure extends Error {
  readonly code: CniCode;
  readonly details: string;

  constructor(code: CniCode, message: string, details = '') {
    super(message);
    this.name = 'CniFailure';
    this.code = code;
    this.details = details;
  }
}

/** The error as the plugin prints it; in the newest version where the configuration's is not known. */
export function failureText(failure: CniFailure, version: CniVersion = newestVersion): string {
  return line({
    cniVersion: version,
    code: failure.code,
    msg: failure.message,
    ...(failure.details === '' ? {} : { details: failure.details }),
  });
}

export function line(value: object): string {
  return `${JSON.stringify(value)}\n`;
}
