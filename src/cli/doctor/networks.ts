/** Whether pods and this host's other networks have addresses in common. Pure: the host's interfaces come in. */
import type { NetworkInterfaceInfo } from 'node:os';
import IPCIDR from 'ip-cidr';
import { type Finding, ok, warning } from './finding.js';

/**
 * One finding for each network of the host that shares addresses with a pod CIDR, or one that says there is none.
 * `interfaces` as `os.networkInterfaces()` tells them; `own` is weft's interface (network.hostInterface), which is meant to share.
 * What is no CIDR is left to the checks of who told it.
 */
export function networkFindings(
  podCidrs: readonly string[],
  interfaces: Readonly<Record<string, readonly NetworkInterfaceInfo[] | undefined>>,
  own: string,
): Finding[] {
  const findings: Finding[] = [];
  for (const [name, addresses] of Object.entries(interfaces)) {
    if (name === own) continue;
    for (const { cidr } of addresses ?? []) {
      // Interfaces without a netmask have none.
      if (cidr === null) continue;
      for (const pods of podCidrs)
        if (overlap(pods, cidr))
          findings.push(
            warning(
              'networks',
              `${name} has ${cidr}, which shares addresses with the pod CIDR ${pods}`,
              `pods there and hosts behind ${name} cannot reach each other: remove ${name} if another CNI left it, or give the pods another range (K3s: cluster-cidr, before the first start)`,
            ),
          );
    }
  }
  return findings.length > 0 || podCidrs.length === 0
    ? findings
    : [ok('networks', 'no other network of this host shares addresses with the pods')];
}

/** Blocks never overlap by halves: one holds the other's first address. */
function overlap(a: string, b: string): boolean {
  if (!IPCIDR.isValidCIDR(a) || !IPCIDR.isValidCIDR(b)) return false;
  const [one, other] = [new IPCIDR(a), new IPCIDR(b)];
  return (
    one.address.v4 === other.address.v4 &&
    (one.contains(other.start<string>()) || other.contains(one.start<string>()))
  );
}
