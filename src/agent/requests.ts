/** What each request of the agent's protocol does. Every expected failure becomes an `error` answer; the connection lives on. */
import type { Unnumbered } from '../dataplane/lines.js';
import { gateway4, gateway6, gatewayMac } from '../dataplane/protocol.js';
import { WeftError } from '../errors/problem.js';
import { portSpec } from './attachment.js';
import { CniRequests } from './cni-requests.js';
import type { Flows } from './flows.js';
import { parseRequest } from './parse-request.js';
import type { AgentAnswer } from './protocol.js';
import { connectionRows, portRows, type ReportServices, statusReport } from './reports.js';
import type { Client, HandleMessage } from './server.js';
import { capture, followFlows, tryPolicies } from './subscriptions.js';
import type { Trials } from './trials.js';
import { why } from './why.js';

export interface RequestServices extends ReportServices {
  readonly flows: Flows;
  readonly trials: Trials;
  readonly metrics: () => Promise<string>;
  readonly cniCounted: (verb: string, code: number) => void;
  readonly reload: () => Promise<{
    readonly applied: readonly string[];
    readonly needRestart: readonly string[];
  }>;
  readonly log: (message: string, fields: Readonly<Record<string, unknown>>) => void;
}

export function requestHandler(services: RequestServices): HandleMessage {
  const cni = new CniRequests({ ...services, counted: services.cniCounted });
  let observers = 0;
  return (message, client) => {
    const id = typeof message.id === 'number' ? message.id : 0;
    const answer = (body: Unnumbered<AgentAnswer>) => client.send({ ...body, id });
    const subscribe = (start: (client: Client) => Promise<() => void>) => {
      const most = services.agent.config.agent.observers;
      if (observers >= most)
        throw new WeftError(
          'observers-exhausted',
          `${most} clients follow already. End one of them, or raise agent.observers.`,
        );
      observers++;
      client.onClose(() => observers--);
      return start(client);
    };
    respond(services, cni, message, id, client, answer, subscribe).catch((error: unknown) => {
      const expected = error instanceof WeftError;
      if (!expected)
        services.log('a request failed', { type: message.type, error: String((error as Error).stack) });
      answer({
        type: 'error',
        code: expected ? error.code : 'agent-internal',
        message: (error as Error).message,
        ...(expected && error.problems.length > 0 ? { problems: error.problems } : {}),
      });
    });
  };
}

type Answer = (body: Unnumbered<AgentAnswer>) => void;
type Subscribe = (start: (client: Client) => Promise<() => void>) => Promise<() => void>;

async function respond(
  services: RequestServices,
  cni: CniRequests,
  message: Readonly<Record<string, unknown>>,
  id: number,
  client: Client,
  answer: Answer,
  subscribe: Subscribe,
): Promise<void> {
  const { agent } = services;
  const request = parseRequest(message);
  switch (request.type) {
    case 'attach': {
      const { attachment, revision } = await agent.attach(request);
      const { mac, mtu, addresses } = portSpec(attachment);
      answer({
        type: 'attached',
        port: attachment.id,
        mac,
        mtu,
        addresses,
        gateways: [...new Set(addresses.map((text) => (text.includes(':') ? gateway6 : gateway4)))],
        gatewayMac,
        revision,
      });
      return;
    }
    case 'detach':
      answer({ type: 'detached', found: await agent.detach(request) });
      return;
    case 'cni':
      answer(await cni.handle(request, id, client));
      return;
    case 'cni-taken':
      cni.taken(client, id);
      return;
    case 'sync': {
      const revision = await agent.sync(request.timeoutMilliseconds);
      answer({
        type: 'synced',
        revision,
        generation: agent.progress.generation,
        problems: agent.problems,
        failedPorts: agent.attachments.failed.map(({ id, error }) => ({ id, error: error?.message ?? '' })),
      });
      return;
    }
    case 'status':
      answer(await statusReport(services));
      return;
    case 'ports':
      answer({ type: 'ports', ports: await portRows(services, request) });
      return;
    case 'connections':
      answer({ type: 'connections', connections: await connectionRows(services, request) });
      return;
    case 'why':
      answer({ type: 'why', ...(await why(services, request)) });
      return;
    case 'metrics':
      answer({ type: 'metrics', text: await services.metrics() });
      return;
    case 'reload':
      answer({ type: 'reloaded', ...(await services.reload()) });
      return;
    case 'flows':
      await subscribe(async () => followFlows(services, request, id, client));
      return;
    case 'capture':
      await subscribe(() => capture(services, request, id, client));
      return;
    case 'trial':
      await subscribe(() => tryPolicies(services.trials, request, id, client));
      return;
  }
}
