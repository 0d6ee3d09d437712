/** Every contender, in the order of the report's tables. */
import { calicoContenders } from './calico.js';
import type { Contender } from './contender.js';
import { kubeRouterContenders } from './kube-router.js';
import { limits } from './limit.js';
import { nftMapsContenders } from './nft-maps.js';
import { ovsContenders } from './ovs.js';
import { vethContenders } from './veth.js';
import { weft } from './weft.js';

export const contenders: readonly Contender[] = [
  ...limits,
  ...weft,
  ...vethContenders,
  ...kubeRouterContenders,
  ...calicoContenders,
  ...nftMapsContenders,
  ...ovsContenders,
];

/** The contender of that name; undefined when there is none. */
export function contenderNamed(name: string): Contender | undefined {
  return contenders.find((contender) => contender.name === name);
}
