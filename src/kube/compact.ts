/**
 * Model objects with what many of them have in common held once: 20,000 pods are a few hundred different sets of labels. What is given is
 * changed in place (it has just been decoded, and nobody else has it), so that no field of the model can be forgotten here.
 */
import type { Labels } from '../model/labels.js';
import type { ContainerPort, Pod } from '../model/pod.js';
import type { EndpointSlice } from '../model/service.js';
import type { Address } from '../net/address.js';
import { Interner } from './intern.js';

type Fresh<T> = { -readonly [Field in keyof T]: T[Field] };

const generation = 65_536;
const none: readonly never[] = Object.freeze([]);

export class Compactor {
  readonly #texts = new Interner<string>(generation);
  readonly #labels = new Interner<Labels>(generation);
  readonly #ports = new Interner<readonly ContainerPort[]>(generation);
  readonly #addresses = new Interner<Address>(generation);

  pod(decoded: Pod): Pod {
    const pod = decoded as Fresh<Pod>;
    pod.namespace = this.#text(pod.namespace);
    pod.labels = this.labels(pod.labels);
    pod.addresses = this.#list(pod.addresses);
    pod.hostAddresses = this.#list(pod.hostAddresses);
    pod.nodeName = this.#text(pod.nodeName);
    pod.created = this.#text(pod.created);
    pod.ports = pod.ports.length === 0 ? none : this.#ports.get(JSON.stringify(pod.ports), pod.ports);
    return pod;
  }

  slice(decoded: EndpointSlice): EndpointSlice {
    const slice = decoded as Fresh<EndpointSlice>;
    slice.namespace = this.#text(slice.namespace);
    slice.service = this.#text(slice.service);
    for (const endpoint of slice.endpoints as Fresh<EndpointSlice['endpoints'][number]>[]) {
      endpoint.addresses = this.#list(endpoint.addresses);
      endpoint.nodeName = this.#text(endpoint.nodeName);
    }
    return slice;
  }

  labels(labels: Labels): Labels {
    // JSON keeps keys and values apart whatever characters they hold; one text for two sets of labels would open a policy.
    return this.#labels.get(JSON.stringify([...labels]), labels);
  }

  #text(text: string): string {
    return text === '' ? '' : this.#texts.get(text, text);
  }

  #list(addresses: readonly Address[]): readonly Address[] {
    if (addresses.length === 0) return none;
    return addresses.map((address) => this.#addresses.get(address.text, address));
  }
}
