/** Versions of the CNI specification that weft speaks, oldest first. native/cni/failure.h has the same list. */
export const cniVersions = ['0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0'] as const;

export type CniVersion = (typeof cniVersions)[number];

export const newestVersion: CniVersion = '1.1.0';

export function isCniVersion(value: unknown): value is CniVersion {
  return (cniVersions as readonly unknown[]).includes(value);
}

export function atLeast(version: CniVersion, since: CniVersion): boolean {
  return cniVersions.indexOf(version) >= cniVersions.indexOf(since);
}
