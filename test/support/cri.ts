/**
 * The container runtime interface (CRI v1, field numbers of kubernetes/cri-api api.proto) as a kubelet calls it: a pod is a sandbox, its
 * containers run in it. Only what the tests call; unknown fields of answers are ignored.
 */
import { GrpcChannel } from './grpc.js';
import {
  bool,
  bytes,
  decode,
  encode,
  int,
  type Message,
  many,
  map,
  one,
  string,
  type Value,
} from './protobuf.js';

const metadata: Message = { name: string(1), uid: string(2), namespace: string(3), attempt: int(4) };
const portMapping: Message = { protocol: int(1), containerPort: int(2), hostPort: int(3), hostIp: string(4) };
const dns: Message = { servers: many(1, 'string'), searches: many(2, 'string'), options: many(3, 'string') };
const namespaces: Message = { network: int(1), pid: int(2), ipc: int(3) };
const linuxSandbox: Message = {
  cgroupParent: string(1),
  securityContext: one(2, { namespaces: one(1, namespaces) }),
};
const sandboxConfig: Message = {
  metadata: one(1, metadata),
  hostname: string(2),
  logDirectory: string(3),
  dns: one(4, dns),
  portMappings: many(5, portMapping),
  labels: map(6),
  annotations: map(7),
  linux: one(8, linuxSandbox),
};
const image: Message = { image: string(1) };
const containerConfig: Message = {
  metadata: one(1, { name: string(1), attempt: int(2) }),
  image: one(2, image),
  command: many(3, 'string'),
  args: many(4, 'string'),
  labels: map(9),
  linux: one(15, { securityContext: one(2, { privileged: bool(2), namespaces: one(3, namespaces) }) }),
};
const network: Message = { ip: string(1), additional: many(2, { ip: string(1) }) };

/** [request, response] of each call. */
const calls = {
  Version: [
    { version: string(1) },
    { runtimeName: string(2), runtimeVersion: string(3), apiVersion: string(4) },
  ],
  Status: [
    { verbose: bool(1) },
    {
      status: one(1, {
        conditions: many(1, { type: string(1), status: bool(2), reason: string(3), message: string(4) }),
      }),
    },
  ],
  RunPodSandbox: [{ config: one(1, sandboxConfig) }, { id: string(1) }],
  StopPodSandbox: [{ id: string(1) }, {}],
  RemovePodSandbox: [{ id: string(1) }, {}],
  PodSandboxStatus: [
    { id: string(1), verbose: bool(2) },
    {
      status: one(1, { id: string(1), metadata: one(2, metadata), state: int(3), network: one(5, network) }),
      info: map(2),
    },
  ],
  ListPodSandbox: [{}, { items: many(1, { id: string(1), metadata: one(2, metadata), state: int(3) }) }],
  CreateContainer: [
    { id: string(1), config: one(2, containerConfig), sandbox: one(3, sandboxConfig) },
    { id: string(1) },
  ],
  StartContainer: [{ id: string(1) }, {}],
  ExecSync: [
    { id: string(1), command: many(2, 'string'), timeout: int(3) },
    { stdout: bytes(1), stderr: bytes(2), exitCode: int(3) },
  ],
  ImageStatus: [{ image: one(1, image) }, { image: one(1, { id: string(1), tags: many(2, 'string') }) }],
} as const satisfies Record<string, readonly [Message, Message]>;

export interface PortMapping {
  readonly protocol: 'TCP' | 'UDP' | 'SCTP';
  readonly containerPort: number;
  readonly hostPort: number;
  readonly hostIp?: string;
}

export interface SandboxWish {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly attempt?: number;
  readonly portMappings?: readonly PortMapping[];
  readonly annotations?: Readonly<Record<string, string>>;
  readonly hostNetwork?: boolean;
}

export interface Executed {
  readonly stdout: string;
  readonly stderr: string;
  readonly exitCode: number;
}

const protocols = ['TCP', 'UDP', 'SCTP'];

export class Cri {
  readonly #channel: GrpcChannel;

  constructor(socket: string) {
    this.#channel = new GrpcChannel(socket);
  }

  close(): void {
    this.#channel.close();
  }

  /** Throws `CallError` with the runtime's words. */
  async call(name: keyof typeof calls, request: Value, seconds?: number): Promise<Record<string, unknown>> {
    const [asked, answered] = calls[name];
    const service = name === 'ImageStatus' ? 'ImageService' : 'RuntimeService';
    const answer = await this.#channel.call(
      `/runtime.v1.${service}/${name}`,
      encode(asked, request),
      seconds,
    );
    return decode(answered, answer);
  }

  /** A condition of the runtime (`NetworkReady`), with its reason where it is not met. */
  async condition(
    type: string,
  ): Promise<{ readonly status: boolean; readonly reason: string; readonly message: string }> {
    const { status } = await this.call('Status', {});
    const { conditions } = status as {
      conditions: { type: string; status: boolean; reason: string; message: string }[];
    };
    const found = conditions.find((condition) => condition.type === type);
    if (found === undefined) throw new Error(`the runtime reports no ${type}`);
    return found;
  }

  /** Makes the pod's network namespace and calls ADD; the identifier of the sandbox. */
  async runSandbox(wish: SandboxWish, seconds?: number): Promise<string> {
    const { id } = await this.call('RunPodSandbox', { config: config(wish) }, seconds);
    return id as string;
  }

  /** Addresses as the runtime reports them, the primary one first. */
  async addresses(id: string): Promise<string[]> {
    const { status } = await this.call('PodSandboxStatus', { id });
    const { network: net } = status as { network?: { ip: string; additional: { ip: string }[] } };
    return net === undefined || net.ip === '' ? [] : [net.ip, ...net.additional.map(({ ip }) => ip)];
  }

  /** Path of the network namespace, as the runtime names it. */
  async netns(id: string): Promise<string> {
    const { info } = await this.call('PodSandboxStatus', { id, verbose: true });
    const all = JSON.parse((info as Record<string, string>).info ?? '{}');
    const found = all.runtimeSpec?.linux?.namespaces?.find((one: { type: string }) => one.type === 'network');
    if (typeof found?.path !== 'string') throw new Error(`sandbox ${id} has no network namespace of its own`);
    return found.path;
  }

  async sandboxes(): Promise<{ readonly id: string; readonly name: string; readonly ready: boolean }[]> {
    const { items } = await this.call('ListPodSandbox', {});
    return (items as { id: string; metadata: { name: string }; state: number }[]).map((item) => ({
      id: item.id,
      name: item.metadata.name,
      ready: item.state === 0,
    }));
  }

  /** Starts a container of the image in the sandbox; its identifier. */
  async startContainer(
    sandbox: string,
    wish: SandboxWish,
    name: string,
    tag: string,
    command: readonly string[],
  ): Promise<string> {
    const { id } = await this.call('CreateContainer', {
      id: sandbox,
      config: {
        metadata: { name, attempt: 0 },
        image: { image: tag },
        command,
        ...(wish.hostNetwork === true ? { linux: { securityContext: { namespaces: { network: 2 } } } } : {}),
      },
      sandbox: config(wish),
    });
    await this.call('StartContainer', { id });
    return id as string;
  }

  async exec(container: string, command: readonly string[], seconds = 30): Promise<Executed> {
    const answer = await this.call('ExecSync', { id: container, command, timeout: seconds }, seconds + 5);
    return {
      stdout: String(answer.stdout),
      stderr: String(answer.stderr),
      exitCode: answer.exitCode as number,
    };
  }

  async stopSandbox(id: string, seconds?: number): Promise<void> {
    await this.call('StopPodSandbox', { id }, seconds);
  }

  async removeSandbox(id: string): Promise<void> {
    await this.call('RemovePodSandbox', { id });
  }

  /** Whether the runtime has the image. */
  async hasImage(tag: string): Promise<boolean> {
    return (await this.call('ImageStatus', { image: { image: tag } })).image !== undefined;
  }
}

function config(wish: SandboxWish): Value {
  return {
    metadata: { name: wish.name, uid: wish.uid, namespace: wish.namespace, attempt: wish.attempt ?? 0 },
    hostname: wish.name,
    portMappings: (wish.portMappings ?? []).map(({ protocol, ...rest }) => ({
      protocol: protocols.indexOf(protocol),
      ...rest,
    })),
    annotations: wish.annotations ?? {},
    labels: {},
    linux: wish.hostNetwork === true ? { securityContext: { namespaces: { network: 2 } } } : {},
  };
}
