/** The cluster addresses of the lab's Services, which an API server would allot. A Service keeps its own as long as it is there. */
import type { Problem } from '../errors/problem.js';
import type { KubernetesObject } from '../manifests/object.js';
import { addressesFrom, nameOf, objectOf, type PlainObject } from '../manifests/plain.js';
import type { Address } from '../net/address.js';
import type { Cidr } from '../net/cidr.js';
import { Pool } from './allot.js';

interface Held {
  readonly addresses: readonly Address[];
  /** Those that came out of a pool and go back to it. */
  readonly pooled: readonly Address[];
}

export class ServiceAddresses {
  readonly #pools: readonly Pool[];
  readonly #held = new Map<string, Held>();

  constructor(serviceCidrs: readonly Cidr[]) {
    this.#pools = serviceCidrs.map((block) => new Pool(block, 16));
  }

  /** These Services and no others keep addresses. Returns their objects with them, those first that bring their own along. */
  settle(services: readonly KubernetesObject[], problems: Problem[]): KubernetesObject[] {
    const keys = new Set(services.filter(hasAddress).map(serviceKey));
    for (const key of [...this.#held.keys()]) if (!keys.has(key)) this.#release(key);
    const own = services.map((value) => ({ value, given: givenAddresses(value) }));
    const order = [
      ...own.filter(({ given }) => given.length > 0),
      ...own.filter(({ given }) => given.length === 0),
    ];
    return order.map(({ value, given }) => {
      if (!hasAddress(value)) return value;
      const spec = objectOf(value.spec);
      const key = serviceKey(value);
      const before = this.#held.get(key)?.addresses;
      if (given.some((one, i) => one.text !== before?.[i]?.text)) this.#release(key);
      const held = this.#held.get(key) ?? this.#allot(key, spec, given, problems);
      this.#held.set(key, held);
      const clusterIPs = held.addresses.map(({ text }) => text);
      return { ...value, spec: { ...spec, clusterIP: clusterIPs[0], clusterIPs } };
    });
  }

  #release(key: string): void {
    for (const pooled of this.#held.get(key)?.pooled ?? [])
      for (const pool of this.#pools) pool.release(pooled);
    this.#held.delete(key);
  }

  #allot(key: string, spec: PlainObject, given: readonly Address[], problems: Problem[]): Held {
    const pooled: Address[] = [];
    if (given.length > 0) {
      for (const one of given) if (this.#pools.some((pool) => pool.reserve(one))) pooled.push(one);
      return { addresses: given, pooled };
    }
    const families = Array.isArray(spec.ipFamilies)
      ? spec.ipFamilies.map((name) => (name === 'IPv6' ? 6 : 4))
      : spec.ipFamilyPolicy === 'SingleStack'
        ? [this.#pools[0]?.family ?? 4]
        : this.#pools.map((pool) => pool.family);
    for (const family of families) {
      const one = this.#pools.find((pool) => pool.family === family)?.take();
      if (one !== undefined) pooled.push(one);
    }
    if (pooled.length === 0) {
      problems.push({
        code: 'lab-addresses-exhausted',
        severity: 'error',
        message: `No cluster address is left for the Service ${key}.`,
      });
    }
    return { addresses: pooled, pooled };
  }
}

function hasAddress(value: KubernetesObject): boolean {
  const spec = objectOf(value.spec);
  return spec.clusterIP !== 'None' && spec.type !== 'ExternalName';
}

function serviceKey(value: KubernetesObject): string {
  const named = nameOf(value);
  return `${named?.namespace}/${named?.name}`;
}

function givenAddresses(value: KubernetesObject): Address[] {
  const spec = objectOf(value.spec);
  return addressesFrom(spec.clusterIPs, spec.clusterIP);
}
