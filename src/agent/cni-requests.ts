/**
 * CNI calls, as the plugin hands them on: from the runtime's words to what the agent does, and back to what the plugin prints.
 *
 * Nothing here throws to the client: every outcome is an exit status and an output. An ADD that nobody takes is undone, whether its plugin
 * was killed while it waited or before it had handed the answer on.
 */
import { createHash } from 'node:crypto';
import { checkFailure, findings } from '../cni/check.js';
import { type NetworkConfiguration, readConfiguration, versionIn } from '../cni/configuration.js';
import { type CniEnvironment, readEnvironment } from '../cni/environment.js';
import { CniFailure, cniCodes, failureText, line } from '../cni/failure.js';
import { type NamespaceReport, namespaceFailure, readNamespaceReport } from '../cni/namespace-report.js';
import { appendResult, type CniResult, writeResult } from '../cni/result.js';
import { gateway4, gateway6 } from '../dataplane/protocol.js';
import { WeftError } from '../errors/problem.js';
import type { Agent } from './agent.js';
import { type Attachment, macOf, portId } from './attachment.js';
import { cniFailure } from './cni-failure.js';
import type { CniAnswer, StatusAnswer } from './protocol/answers.js';
import type { AttachRequest, CniRequest } from './protocol/requests.js';
import type { Client } from './server.js';

/** Milliseconds that CHECK gives a port to come up (a switch that was restarted, an agent that has just begun). */
const checkPatience = 5000;
/** Milliseconds that STATUS gives an agent or a switch that has just begun; with the plugin's own patience below the 30 s of a kubelet. */
const statusPatience = 5000;
/** Milliseconds by which the agent answers before the plugin's own patience ends. */
const margin = 500;

interface Call {
  readonly environment: CniEnvironment;
  readonly configuration: NetworkConfiguration;
  readonly report: NamespaceReport | undefined;
}

export interface CniServices {
  readonly agent: Agent;
  readonly pools: () => StatusAnswer['addresses'];
  readonly log: (message: string, fields: Readonly<Record<string, unknown>>) => void;
  /** Every call once: its verb (`unknown` where it has none), and the code that it ended with, 0 for success. */
  readonly counted: (verb: string, code: number) => void;
}

export class CniRequests {
  readonly #services: CniServices;
  /** Answered ADDs whose plugin has not said yet that the runtime has the answer, by the id of the request. */
  readonly #untaken = new WeakMap<Client, Map<number, Attachment>>();

  constructor(services: CniServices) {
    this.#services = services;
  }

  /** The plugin has handed the answer of its ADD on. */
  taken(client: Client, id: number): void {
    this.#untaken.get(client)?.delete(id);
  }

  async handle(request: CniRequest, id: number, client: Client): Promise<Omit<CniAnswer, 'id'>> {
    const text = typeof request.stdin === 'string' ? request.stdin : '';
    let verb = 'unknown';
    try {
      const environment = readEnvironment(request.environment ?? {});
      verb = environment.command;
      const configuration = readConfiguration(text, environment.command, environment.arguments);
      const report = readNamespaceReport(request.namespace);
      const output = await this.#run({ environment, configuration, report }, id, client);
      this.#services.counted(verb, 0);
      return { type: 'cni', exitStatus: 0, stdout: output };
    } catch (error) {
      const failure = error instanceof CniFailure ? error : cniFailure(error as Error);
      if (!(error instanceof CniFailure) && !(error instanceof WeftError))
        this.#services.log('a CNI call failed', { error: String((error as Error).stack) });
      this.#services.counted(verb, failure.code);
      return { type: 'cni', exitStatus: 1, stdout: failureText(failure, versionIn(text)) };
    }
  }

  async #run(call: Call, id: number, client: Client): Promise<string> {
    switch (call.environment.command) {
      case 'ADD':
        return this.#add(call, id, client);
      case 'DEL':
        await this.#delete(call);
        return '';
      case 'CHECK':
        await this.#check(call);
        return '';
      case 'STATUS':
        await this.#status(call.configuration);
        return '';
      case 'GC':
        await this.#collect(call.configuration);
        return '';
    }
  }

  async #add(call: Call, id: number, client: Client): Promise<string> {
    const { agent } = this.#services;
    const { environment, configuration, report } = call;
    const unusable = report === undefined ? null : namespaceFailure(report, environment.netns);
    if (unusable !== null) throw unusable;
    const request = attachRequest(call, agent.config.agent.attachTimeout / 1000);
    refuseTaken(call, request);
    const gone = new AbortController();
    const untaken = this.#untaken.get(client) ?? new Map<number, Attachment>();
    this.#untaken.set(client, untaken);
    client.onClose(() => {
      gone.abort();
      const attachment = untaken.get(id);
      if (attachment !== undefined) agent.abandon(attachment);
    });
    const { attachment, created } = await agent.attach(request, gone.signal);
    if (created) untaken.set(id, attachment);
    const own = resultOf(attachment, configuration);
    const { previous, version } = configuration;
    return line(writeResult(previous === undefined ? own : appendResult(previous, own), version));
  }

  /** Whatever the container was called and wherever it was: its id and interface say which attachment is meant. */
  async #delete({ environment }: Call): Promise<void> {
    const { containerId, ifname } = environment;
    await this.#services.agent.detach({ containerId, ifname });
  }

  async #check({ environment, configuration, report }: Call): Promise<void> {
    const { agent } = this.#services;
    const { containerId, ifname, netns } = environment;
    const attachment = agent.attachments
      .list()
      .find(({ details }) => details.containerId === containerId && details.ifname === ifname);
    if (attachment === undefined)
      throw new CniFailure(
        cniCodes.unknownContainer,
        'unknown container',
        `This node has no attachment of the container ${containerId} with the interface ${ifname}.`,
      );
    const found: string[] = [];
    if (attachment.details.netns !== netns)
      found.push(`The container is attached in ${attachment.details.netns} and not in ${netns}.`);
    const unusable = report === undefined ? null : namespaceFailure(report, netns);
    if (unusable !== null) found.push(unusable.details);
    else if (report !== undefined && configuration.previous !== undefined) {
      const addresses = attachment.addresses.map(({ text }) => text);
      const gateways = [gateway4, gateway6];
      found.push(
        ...findings(configuration.previous, { ifname, netns, addresses, gateways }, report.interface),
      );
    }
    const trouble = await agent.portTrouble(attachment.id, checkPatience);
    if (trouble !== null) found.push(`The switch does not carry the port: ${trouble}`);
    if (found.length > 0) throw checkFailure(found);
  }

  /**
   * Whether an ADD could be served. What a refusal brings about is more than that: containerd 2 and CRI-O tell the kubelet that the network
   * is not ready, the Node becomes NotReady, its pods leave their Services at once and are evicted after five minutes. So an agent that
   * begins is waited for. And a node that is full is no reason under Kubernetes, though the specification would have it told here
   * too: those who run would pay for the one who finds no room. There ADD says it (code 11), and problems, limits and metrics do.
   */
  async #status({ answerTimeout }: NetworkConfiguration): Promise<void> {
    const { agent } = this.#services;
    await agent.settled(Math.max(1, Math.min(statusPatience, answerTimeout - margin)));
    // Without the switch nothing passes, old pods included. Everything else only keeps new ones out.
    if (agent.link === null)
      throw new CniFailure(
        cniCodes.notAvailableDegraded,
        'the switch of this node is away',
        agent.unreadyReason,
      );
    const unavailable = (details: string) =>
      new CniFailure(cniCodes.notAvailable, 'pods cannot be added to this node now', details);
    if (!agent.ready) throw unavailable(agent.unreadyReason);
    if (this.#services.pools().length === 0) throw unavailable('This node has no pod CIDR yet.');
    const full = this.#full();
    if (full !== null && !agent.followsApi) throw unavailable(full);
  }

  /** Why there is no room for one more pod; null: there is. */
  #full(): string | null {
    const { agent, pools } = this.#services;
    for (const { cidr, used, total } of pools())
      if (BigInt(used) >= BigInt(total)) return `All ${total} addresses of ${cidr} are in use.`;
    const { count } = agent.attachments;
    return count >= agent.config.limits.ports
      ? `The node carries ${count} ports, as many as limits.ports allows.`
      : null;
  }

  /** Attachments of this network that the runtime does not list. Goes on after a failure and reports all of them. */
  async #collect({ name, valid }: NetworkConfiguration): Promise<void> {
    const { agent } = this.#services;
    const kept = new Set(valid.map(({ containerId, ifname }) => `${containerId} ${ifname}`));
    const garbage = agent.attachments
      .list()
      .filter(({ details }) => details.network === name && details.containerId !== '')
      .filter(({ details }) => !kept.has(`${details.containerId} ${details.ifname}`))
      .filter(({ id }) => !agent.isAttaching(id));
    const outcomes = await Promise.allSettled(
      garbage.map(({ details: { containerId, ifname } }) => agent.detach({ containerId, ifname })),
    );
    const failed = outcomes.flatMap((outcome, index) =>
      outcome.status === 'fulfilled'
        ? []
        : [`${garbage[index]!.owner}: ${(outcome.reason as Error).message}`],
    );
    if (garbage.length > 0)
      this.#services.log('attachments that the runtime does not know any more were removed', {
        owners: garbage.map(({ owner }) => owner),
      });
    if (failed.length > 0)
      throw new CniFailure(cniCodes.garbageLeft, 'some attachments could not be removed', failed.join(' '));
  }
}

function attachRequest({ environment, configuration }: Call, attachTimeout: number): AttachRequest {
  const { containerId, netns, ifname, arguments: given } = environment;
  const { capabilities } = configuration;
  const pod =
    given.podNamespace === undefined || given.podName === undefined
      ? plainContainer(containerId, configuration)
      : { namespace: given.podNamespace, name: given.podName, uid: given.podUid ?? '' };
  return {
    type: 'attach',
    id: 0,
    ...pod,
    netns,
    ifname,
    containerId,
    network: configuration.name,
    ...(capabilities.ips.length === 0 ? {} : { addresses: capabilities.ips }),
    ...(capabilities.mac === undefined ? {} : { mac: capabilities.mac }),
    ...(configuration.mtu === undefined ? {} : { mtu: configuration.mtu }),
    ...(capabilities.portMappings.length === 0 ? {} : { hostPorts: capabilities.portMappings }),
    ...(capabilities.bandwidth === undefined ? {} : { bandwidth: capabilities.bandwidth }),
    timeoutMilliseconds: Math.max(1, Math.min(attachTimeout, configuration.answerTimeout - margin)),
  };
}

/**
 * A container that no Kubernetes runs (ctr, podman, nerdctl): a pod in the namespace that the network configuration names, called by its id,
 * with the labels that the runtime gives it. What selects it isolates it. Ids that are no names get a digest, so that two stay two.
 */
function plainContainer(
  containerId: string,
  { namespace, capabilities }: NetworkConfiguration,
): Pick<AttachRequest, 'namespace' | 'name' | 'uid' | 'labels'> {
  const plain = containerId
    .toLowerCase()
    .replace(/[^a-z0-9.-]/g, '-')
    .slice(0, 200)
    .replace(/[.-]+$/, '');
  const digest = createHash('sha256').update(containerId).digest('hex').slice(0, 12);
  const name = plain === containerId ? plain : `${plain}-${digest}`;
  return { namespace, name, uid: '', labels: capabilities.labels };
}

/** An interface of that name is only allowed to be there when it is the one that this very ADD made before. */
function refuseTaken({ environment, configuration, report }: Call, request: AttachRequest): void {
  const { netns, ifname } = environment;
  const there = report?.interface ?? null;
  const listed = configuration.previous?.interfaces.some(
    ({ name, sandbox }) => name === ifname && sandbox === netns,
  );
  if (listed === true)
    throw new CniFailure(
      cniCodes.interfaceExists,
      `the interface ${ifname} is there already`,
      `A plugin before weft in the chain has made ${ifname} in ${netns}.`,
    );
  if (there === null) return;
  const mac = request.mac ?? macOf(portId(request));
  if (there.kind === 'tun' && there.mac === mac) return;
  throw new CniFailure(
    cniCodes.interfaceExists,
    `the interface ${ifname} is there already`,
    `${netns} has an interface ${ifname} (${there.kind === '' ? 'no TAP' : there.kind}, ${there.mac}) that is not of this attachment.`,
  );
}

function resultOf(attachment: Attachment, { dns }: NetworkConfiguration): CniResult {
  const { ifname, mac, mtu, netns } = attachment.details;
  const families = [...new Set(attachment.addresses.map(({ family }) => family))];
  return {
    interfaces: [{ name: ifname, mac, mtu, sandbox: netns }],
    ips: attachment.addresses.map(({ text, family }) => ({
      interface: 0,
      address: `${text}/${family === 4 ? 32 : 128}`,
      gateway: family === 4 ? gateway4 : gateway6,
    })),
    routes: families.map((family) =>
      family === 4 ? { dst: '0.0.0.0/0', gw: gateway4 } : { dst: '::/0', gw: gateway6 },
    ),
    dns,
  };
}
