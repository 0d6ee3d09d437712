/**
 * CHECK: what ADD answered against what is there. Only what weft made is looked at: its interface, the addresses on it and the routes by its
 * gateways. A plugin behind it in the chain may have added to that, or changed the MAC; the result that the runtime brings says so.
 */
import { CniFailure, cniCodes } from './failure.js';
import { parseAddressWithLength } from './fields.js';
import type { SeenInterface } from './namespace-report.js';
import type { CniResult } from './result.js';

export interface CheckedAttachment {
  readonly ifname: string;
  readonly netns: string;
  /** Bare addresses that the node holds for the container. */
  readonly addresses: readonly string[];
  /** Gateways by which weft's routes go. */
  readonly gateways: readonly string[];
}

/** Everything that is wrong, as sentences; empty: the container is as ADD left it. */
export function findings(
  result: CniResult,
  attachment: CheckedAttachment,
  seen: SeenInterface | null,
): readonly string[] {
  const { ifname, netns } = attachment;
  const found: string[] = [];
  const index = result.interfaces.findIndex(
    ({ name, sandbox }) => name === ifname && (sandbox === undefined || sandbox === netns),
  );
  const listed = result.interfaces[index];
  if (listed === undefined) return [`prevResult lists no interface ${ifname} in ${netns}.`];
  if (seen === null) return [`The interface ${ifname} is not in ${netns}.`];
  if (seen.kind !== 'tun')
    found.push(`The interface ${ifname} is no TAP (kind "${seen.kind}"): it is not weft's.`);
  if (listed.mac !== undefined && listed.mac.toLowerCase() !== seen.mac)
    found.push(`The interface ${ifname} has the MAC ${seen.mac} and not ${listed.mac}.`);
  if (!seen.up) found.push(`The interface ${ifname} is down.`);
  const there = new Set(seen.addresses.map(spelling));
  const wanted = result.ips
    .filter((entry) => entry.interface === index)
    .map(({ address }) => spelling(address));
  for (const address of wanted)
    if (!there.has(address)) found.push(`The address ${address} is not on ${ifname}.`);
  for (const address of attachment.addresses) {
    const text = spelling(`${address}/${address.includes(':') ? 128 : 32}`);
    if (!wanted.includes(text))
      found.push(`The address ${address} is held for the container and not in prevResult.`);
  }
  const routes = new Set(seen.routes.map(({ dst, gw }) => `${spelling(dst)} ${gw ?? ''}`));
  for (const { dst, gw } of result.routes) {
    if (gw === undefined || !attachment.gateways.includes(gw)) continue;
    if (!routes.has(`${spelling(dst)} ${gw}`)) found.push(`The route to ${dst} by ${gw} is not in ${netns}.`);
  }
  return found;
}

export function checkFailure(found: readonly string[]): CniFailure {
  return new CniFailure(
    cniCodes.checkFailed,
    "the container's network is not as it should be",
    found.join(' '),
  );
}

function spelling(text: string): string {
  return parseAddressWithLength(text)?.text ?? text;
}
