/**
 * The names that a cluster's DNS gives to Services and pods (the Kubernetes DNS specification, version 1.1.0), as a table that
 * is computed from the objects and then only looked up:
 *
 *   SERVICE.NAMESPACE.svc.ZONE          A, AAAA: the cluster address, or every ready pod's address of a headless Service;
 *                                       CNAME for an ExternalName
 *   _PORT._PROTO.SERVICE.NAMESPACE.svc.ZONE   SRV, for each endpoint of a headless Service one
 *   HOST.SERVICE.NAMESPACE.svc.ZONE     A, AAAA of one pod: its hostname where it names the Service as its subdomain (pods of a
 *                                       StatefulSet do), else its address with dashes
 *   1-2-3-4.NAMESPACE.pod.ZONE          A, AAAA: the address itself
 *   dns-version.ZONE                    TXT
 *   reverse names                       PTR for cluster addresses and for pods of headless Services
 *
 * Names outside of the zone are refused: the lab has no way out, and an answer "no such name" would be a lie.
 */
import type { Answer, DecodedPacket, Packet, Question } from 'dns-packet';
import { decodeInto, noObjects } from '../manifests/decode.js';
import type { KubernetesObject } from '../manifests/object.js';
import { objectOf, textOf } from '../manifests/plain.js';
import { selects } from '../model/endpoints.js';
import { isFinished, type Pod } from '../model/pod.js';
import type { Service } from '../model/service.js';
import { type Address, addressBytes, parseAddress } from '../net/address.js';

const timeToLive = 5; // seconds, as CoreDNS answers for a cluster

type Record_ =
  | { readonly type: 'A' | 'AAAA' | 'CNAME' | 'PTR' | 'TXT'; readonly data: string }
  | {
      readonly type: 'SRV';
      readonly data: { priority: number; weight: number; port: number; target: string };
    };

export class DnsTable {
  readonly #records = new Map<string, Record_[]>();
  /** Every name that exists, also those that only have names below them: an empty answer instead of "no such name". */
  readonly #names = new Set<string>();
  readonly #zone: string;
  readonly #namespaces = new Set<string>();

  constructor(objects: readonly KubernetesObject[], zone: string) {
    this.#zone = zone;
    const model = noObjects();
    const externalNames = new Map<string, string>();
    const places = new Map<string, { hostname: string; subdomain: string }>();
    for (const object of objects) {
      decodeInto(model, object);
      const { namespace, name } = objectOf(object.metadata);
      const spec = objectOf(object.spec);
      const key = `${textOf(namespace) || 'default'}/${textOf(name)}`;
      if (object.kind === 'Service') externalNames.set(key, textOf(spec.externalName));
      if (object.kind !== 'Pod') continue;
      places.set(key, {
        hostname: textOf(spec.hostname),
        subdomain: textOf(spec.subdomain),
      });
    }
    this.#name(zone);
    this.#add(`dns-version.${zone}`, { type: 'TXT', data: '1.1.0' });
    for (const namespace of model.namespaces) {
      this.#namespaces.add(namespace.name);
      this.#name(`${namespace.name}.svc.${zone}`);
      this.#name(`${namespace.name}.pod.${zone}`);
    }
    const byNamespace = new Map<string, Pod[]>();
    for (const pod of model.pods) {
      const list = byNamespace.get(pod.namespace);
      if (list === undefined) byNamespace.set(pod.namespace, [pod]);
      else list.push(pod);
    }
    for (const service of model.services) {
      const pods = (byNamespace.get(service.namespace) ?? []).filter((pod) => serves(pod, service));
      if (service.type !== 'ExternalName') {
        this.#addService(service, pods, places);
        continue;
      }
      const target = externalNames.get(`${service.namespace}/${service.name}`);
      if (target)
        this.#add(`${service.name}.${service.namespace}.svc.${zone}`, { type: 'CNAME', data: target });
    }
  }

  /** The answer to a query packet. */
  answer(query: DecodedPacket): Packet {
    const question = query.questions?.[0];
    const base = { type: 'response' as const, id: query.id ?? 0, questions: query.questions ?? [] };
    const recursion = (query.flags ?? 0) & 0x0100;
    if (question === undefined) return { ...base, flags: recursion | 1, answers: [] }; // FORMERR
    const name = question.name.toLowerCase().replace(/\.$/, '');
    const inZone = name === this.#zone || name.endsWith(`.${this.#zone}`);
    const reverse = name.endsWith('.in-addr.arpa') || name.endsWith('.ip6.arpa');
    if (!inZone && !(reverse && this.#records.has(name)))
      return { ...base, flags: recursion | 5, answers: [] }; // REFUSED
    const answers = this.#lookUp(name, question);
    const exists = answers.length > 0 || this.#names.has(name) || this.#podAddress(name) !== undefined;
    // Authoritative (0x0400); 3 is NXDOMAIN.
    const flags = recursion | 0x0400 | (exists ? 0 : 3);
    const additionals = answers
      .filter((record) => record.type === 'SRV')
      .flatMap((record) => this.#addresses((record.data as { target: string }).target));
    return { ...base, flags, answers, additionals: additionals.slice(0, 50) };
  }

  /** Addresses of a name; for tests and for whoever needs no packet. */
  #addresses(name: string): Answer[] {
    return (this.#records.get(name) ?? [])
      .filter(({ type }) => type === 'A' || type === 'AAAA')
      .map((r) => toAnswer(name, r));
  }

  #lookUp(name: string, question: Question): Answer[] {
    const held = this.#records.get(name) ?? [];
    const pod = this.#podAddress(name);
    const records: readonly Record_[] = pod === undefined ? held : [addressRecord(pod)];
    return records
      .filter(({ type }) => type === question.type || type === 'CNAME' || (question.type as string) === 'ANY')
      .map((record) => toAnswer(name, record));
  }

  /** `10-42-0-5.shop.pod.ZONE`: the address is in the name, no pod is looked for (CoreDNS: `pods insecure`). */
  #podAddress(name: string): Address | undefined {
    const suffix = `.pod.${this.#zone}`;
    if (!name.endsWith(suffix)) return undefined;
    const [dashed, namespace, ...rest] = name.slice(0, -suffix.length).split('.');
    if (
      dashed === undefined ||
      namespace === undefined ||
      rest.length > 0 ||
      !this.#namespaces.has(namespace)
    )
      return undefined;
    return parseAddress(dashed.replaceAll('-', '.')) ?? parseAddress(dashed.replaceAll('-', ':'));
  }

  #addService(
    service: Service,
    pods: readonly Pod[],
    places: ReadonlyMap<string, { hostname: string; subdomain: string }>,
  ): void {
    const name = `${service.name}.${service.namespace}.svc.${this.#zone}`;
    this.#name(name);
    for (const address of service.clusterIPs) {
      this.#add(name, addressRecord(address));
      this.#add(reverseName(address), { type: 'PTR', data: name });
    }
    const headless = service.clusterIPs.length === 0;
    for (const port of headless ? [] : service.ports) {
      this.#addPort(name, port.name, port.protocol, port.port, name);
    }
    if (!headless) return;
    for (const pod of pods) {
      const place = places.get(`${pod.namespace}/${pod.name}`);
      const named = place !== undefined && place.hostname !== '' && place.subdomain === service.name;
      for (const address of pod.addresses) {
        const host = named ? place.hostname : address.text.replace(/[.:]/g, '-');
        const target = `${host}.${name}`;
        this.#add(name, addressRecord(address));
        this.#add(target, addressRecord(address));
        this.#add(reverseName(address), { type: 'PTR', data: target });
        for (const port of service.ports) {
          const number = containerPort(pod, port.targetPort, port.protocol);
          if (number !== undefined) this.#addPort(name, port.name, port.protocol, number, target);
        }
      }
    }
  }

  #addPort(service: string, port: string, protocol: string, number: number, target: string): void {
    if (port === '') return;
    const name = `_${port}._${protocol.toLowerCase()}.${service}`;
    const data = { priority: 0, weight: 100, port: number, target };
    const held = this.#records.get(name) ?? [];
    if (
      held.some(
        (record) => record.type === 'SRV' && record.data.target === target && record.data.port === number,
      )
    )
      return;
    this.#add(name, { type: 'SRV', data });
  }

  #add(name: string, record: Record_): void {
    const key = name.toLowerCase();
    this.#name(key);
    const list = this.#records.get(key);
    if (list === undefined) this.#records.set(key, [record]);
    else list.push(record);
  }

  #name(name: string): void {
    for (let rest = name.toLowerCase(); rest !== '' && !this.#names.has(rest); ) {
      this.#names.add(rest);
      const dot = rest.indexOf('.');
      rest = dot < 0 ? '' : rest.slice(dot + 1);
    }
  }
}

function serves(pod: Pod, service: Service): boolean {
  if (!selects(service, pod) || isFinished(pod) || pod.addresses.length === 0) return false;
  return service.publishNotReadyAddresses || (pod.ready && !pod.terminating);
}

function containerPort(pod: Pod, target: number | string, protocol: string): number | undefined {
  if (typeof target === 'number') return target;
  return pod.ports.find((port) => port.name === target && port.protocol === protocol)?.port;
}

function addressRecord(address: Address): Record_ {
  return { type: address.family === 4 ? 'A' : 'AAAA', data: address.text };
}

function toAnswer(name: string, record: Record_): Answer {
  return { name, ttl: timeToLive, class: 'IN', type: record.type, data: record.data } as Answer;
}

/** `5.0.42.10.in-addr.arpa`, or nibbles under `ip6.arpa` (RFC 3596, section 2.5). */
export function reverseName(address: Address): string {
  const bytes = [...addressBytes(address)];
  if (address.family === 4) return `${bytes.slice(12).reverse().join('.')}.in-addr.arpa`;
  const nibbles = bytes.flatMap((byte) => [byte >> 4, byte & 15]);
  return `${nibbles
    .reverse()
    .map((nibble) => nibble.toString(16))
    .join('.')}.ip6.arpa`;
}

/** resolv.conf of a pod, as kubelet writes it for dnsPolicy ClusterFirst. */
export function resolvConf(namespace: string, server: Address, zone: string): string {
  return `nameserver ${server.text}\nsearch ${namespace}.svc.${zone} svc.${zone} ${zone}\noptions ndots:5\n`;
}
