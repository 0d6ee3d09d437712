/**
 * `weft switch`: the process that hosts the data plane. It is started often (after each crash) and has to be forwarding again within
 * 100 ms, so the order is: take the lock and the connection table, the image, the ports (from the supervisor, or by their namespace path), start the
 * workers, and only then open the socket that the agent publishes on. Nothing here waits for an agent: what the last
 * publication said is in the run directory and is enforced.
 *
 * Closed, never open: without an image the workers drop everything, and a port that cannot be taken back forwards nothing.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { addressBytes, parseAddress } from '../net/address.js';
import { type Addon, type LoadedImage, loadAddon, type NativeSwitch, type SwitchLimits } from './addon.js';
import { HostWatch } from './host-watch.js';
import { ImageReader, refused } from './image-reader.js';
import { Ports } from './ports.js';
import type {
  Acknowledge,
  ImageStatus,
  QueryAnswer,
  QueryAnswers,
  SwitchStatus,
} from './protocol/answers.js';
import type { ShadowSpec, SwitchSettings } from './protocol/desired-state.js';
import type { PublishRequest, QueryRequest, SubscribeRequest } from './protocol/requests.js';
import { switchSocketName } from './protocol.js';
import { SwitchServer, type SwitchService } from './server.js';
import { emptyState, StateFolder, type SwitchState } from './state.js';
import { type Subscriber, Subscriptions } from './subscriptions.js';

export interface SwitchProcessOptions {
  readonly runDirectory: string;
  /** The socket inherited from `weft-supervise`, or -1. */
  readonly supervisorDescriptor: number;
  readonly limits: SwitchLimits;
  /** Those of the last publication win over these. */
  readonly settings: SwitchSettings;
  readonly version: string;
  readonly log: (message: string, fields: object) => void;
}

const checkMilliseconds = 1000;
const defaultConnectionLimit = 1000;

export class SwitchProcess implements SwitchService {
  readonly #options: SwitchProcessOptions;
  readonly #native: NativeSwitch;
  readonly #folder: StateFolder;
  readonly #ports: Ports;
  readonly #hostWatch: HostWatch;
  readonly #images = new ImageReader();
  readonly #subscriptions: Subscriptions;
  readonly #server: SwitchServer;
  readonly #startedAt = process.hrtime.bigint();
  /** What the kernel refused of the scheduling of the thread that runs this; for the status. */
  controlRefused: readonly string[] = [];
  #state: SwitchState;
  #hasImage = false;
  /** The file that the image in force was published as; null: it is the one that this switch found. */
  #imageFile: string | null = null;
  /** False while the image in force is another than the run directory's. */
  #imageKept = true;
  /** False until the first desired state has been applied: until then a former process's connections wait for their ports. */
  #claimed = false;
  #checking: NodeJS.Timeout | undefined;
  #stopped: Promise<void> | undefined;

  private constructor(addon: Addon, options: SwitchProcessOptions, folder: StateFolder, state: SwitchState) {
    this.#options = options;
    this.#folder = folder;
    this.#state = state;
    this.#native = new addon.Switch({
      ...options.limits,
      runDirectory: options.runDirectory,
      supervisorDescriptor: options.supervisorDescriptor,
      settings: { ...options.settings, ...state.settings },
    });
    this.#ports = new Ports(this.#native, options.log);
    this.#hostWatch = new HostWatch(() =>
      this.#ports
        .restoreHost()
        .catch((error: Error) => options.log('looking at the host port failed', { error: error.message })),
    );
    this.#subscriptions = new Subscriptions(this.#native, (address) => this.#podAt(address));
    this.#server = new SwitchServer({
      path: join(options.runDirectory, switchSocketName),
      service: this,
      peerCredentials: addon.peerCredentials,
      log: options.log,
    });
  }

  /** Resolves when everything of the former process is enforced again and the socket listens. Throws AddonErrors. */
  static async start(options: SwitchProcessOptions, addon = loadAddon()): Promise<SwitchProcess> {
    mkdirSync(options.runDirectory, { recursive: true, mode: 0o700 });
    const folder = new StateFolder(options.runDirectory);
    const found = folder.read();
    for (const message of found.refused)
      options.log('state was refused; nothing passes before the agent publishes', { reason: message });
    if (found.leftOut.length > 0)
      options.log('some of the state was left out until the agent publishes', { reasons: found.leftOut });
    const before = found.state ?? emptyState;
    const self = new SwitchProcess(addon, options, folder, { ...before, starts: before.starts + 1 });
    self.#tryToRemember({});
    // An image without its ports would be harmless, but who damaged one file may have damaged the other.
    await self.#recover(found.state === null ? null : found.image, found.state !== null);
    return self;
  }

  get epoch(): number {
    return this.#state.epoch;
  }

  get revision(): number {
    return this.#state.revision;
  }

  get generation(): string {
    return this.#native.figures().generation;
  }

  raiseEpoch(epoch: number): void {
    if (epoch > this.#state.epoch) this.#tryToRemember({ epoch });
  }

  async publish(request: PublishRequest): Promise<Acknowledge> {
    const { ports, settings } = request;
    // Policy first: a port must not come up under a policy that does not know it.
    const { shadow, ...image } = this.#loadImages(request.image, request.shadow);
    if (settings !== undefined && !isDeepStrictEqual(settings, this.#state.settings))
      this.#native.configure(settings);
    const leaving = this.#ports.leaving(ports);
    this.#remember({
      revision: request.revision,
      ports,
      leaving,
      ...(settings === undefined ? {} : { settings }),
    });
    const statuses = await this.#ports.apply(ports);
    if (leaving.length > 0) this.#remember({ leaving: [] });
    this.#claim();
    return {
      id: request.id,
      type: 'acknowledge',
      revision: request.revision,
      generation: this.generation,
      image,
      ...(shadow === undefined ? {} : { shadow }),
      ports: statuses,
    };
  }

  query(request: QueryRequest): QueryAnswer {
    const data = this.#answer(request);
    return { id: request.id, type: 'answer', what: request.what, data } as QueryAnswer;
  }

  subscribe(request: SubscribeRequest, subscriber: Subscriber): void {
    if (request.what === 'flows') this.#subscriptions.flows(request.id, request.filter ?? {}, subscriber);
    else if (request.what === 'trial') this.#subscriptions.trial(request.id, subscriber);
    else this.#subscriptions.capture(request.id, request.filter, subscriber);
  }

  unsubscribe(subscriber: Subscriber, subscription: number): boolean {
    return this.#subscriptions.end(subscriber, subscription);
  }

  left(subscriber: Subscriber): void {
    this.#subscriptions.endAll(subscriber);
  }

  /** Stops forwarding and leaves everything for the next switch. Idempotent. */
  stop(): Promise<void> {
    this.#stopped ??= (async () => {
      clearInterval(this.#checking);
      this.#hostWatch.stop();
      await this.#server.close();
      this.#subscriptions.close();
      this.#native.stop();
    })();
    return this.#stopped;
  }

  async #recover(image: Buffer | null, known: boolean): Promise<void> {
    const { log } = this.#options;
    if (image !== null) {
      const loaded = this.#native.loadImage(image);
      if (loaded.status === 'loaded') this.#hasImage = true;
      else log('the kept image was refused; nothing passes before the agent publishes', { ...loaded.error });
    }
    await this.#ports.clear(this.#state.leaving);
    const statuses = await this.#ports.apply(this.#state.ports);
    // Only now: with half of the ports there, packets to the other half would be answered as if those pods did not exist, and
    // connections that outlive the restart would be reset. Until here frames wait in the interfaces' own queues.
    this.#native.start();
    if (known) this.#claim();
    this.#tryToRemember({ leaving: [] });
    await this.#server.listen();
    this.#checking = setInterval(() => {
      void this.#ports.check();
      void this.#keepFolder();
    }, checkMilliseconds);
    this.#watchHost();
    const figures = this.#native.figures();
    if (!figures.onTmpfs)
      log('the run directory is not on tmpfs: state outlives a reboot and costs disk writes', {
        directory: this.#options.runDirectory,
      });
    if (figures.tableRefused !== undefined)
      log('the connection table was refused and made anew', { reason: figures.tableRefused });
    if (figures.scheduleRefused !== undefined)
      log('a worker is not scheduled as configured and runs without', { reason: figures.scheduleRefused });
    if (figures.supervisorRefused !== undefined)
      log('no supervisor: carriers drop at the next restart', { reason: figures.supervisorRefused });
    log('the switch is up', {
      ports: statuses.filter(({ status }) => status === 'live').length,
      failed: statuses.filter(({ status }) => status === 'failed').length,
      image: this.#hasImage,
      connections: figures.connectionsRecovered,
      milliseconds: Math.round(process.uptime() * 1000),
    });
  }

  /** Puts back what somebody has removed from the run directory. The connection table goes on, and its successor begins without it. */
  async #keepFolder(): Promise<void> {
    const { state, image } = this.#folder.lost();
    if (state) this.#tryToRemember({});
    if (image && this.#imageFile !== null) this.#keepImage(this.#imageFile);
    const socket = await this.#server.keep().catch(() => false);
    if (state || socket)
      this.#options.log('somebody has removed files of the run directory; they were written again', {
        directory: this.#options.runDirectory,
      });
  }

  /** The agent's own file of the image in force, which it makes anew under another name and publishes where that was removed as well. */
  #keepImage(file: string): void {
    const bytes = this.#images.read(file);
    if (!Buffer.isBuffer(bytes)) return;
    try {
      this.#folder.writeImage(bytes);
    } catch {
      // Tried again at the next look.
    }
  }

  #watchHost(): void {
    try {
      this.#native.watchHost(() => this.#hostWatch.touched());
    } catch (error) {
      this.#options.log("changes of the host port's interface by others are not heard of", {
        reason: (error as Error).message,
      });
    }
    // Who changed it while no switch watched was told to nobody.
    this.#hostWatch.touched();
  }

  #loadImages(path: string | null, shadow: ShadowSpec | undefined): ImageStatus & { shadow?: ImageStatus } {
    const bytes = path === null ? null : this.#images.read(path);
    if (bytes !== null && !Buffer.isBuffer(bytes)) return { ...bytes, ...shadowLeft(shadow) };
    const beside = shadow === undefined ? null : this.#readShadow(shadow);
    const loaded = this.#native.loadImage(
      bytes,
      shadow !== undefined && Buffer.isBuffer(beside) ? { trial: shadow.trial, bytes: beside } : undefined,
    );
    if (loaded.error !== undefined)
      return { ...refused(loaded.error.code, loaded.error.message), ...shadowLeft(shadow) };
    const ofShadow = beside !== null && !Buffer.isBuffer(beside) ? beside : imageStatus(loaded.shadow);
    const also = ofShadow === undefined ? {} : { shadow: ofShadow };
    if (bytes === null && !this.#hasImage) return { status: 'none', ...also };
    if (bytes !== null) this.#imageFile = path;
    if (bytes === null || (loaded.status === 'unchanged' && this.#imageKept))
      return { status: 'unchanged', ...also };
    this.#hasImage = true;
    // Before the acknowledgement: what an agent has been told is in force stays in force after a crash. Where the disk is full it is in
    // force and not acknowledged, and the same image comes again.
    this.#imageKept = false;
    this.#folder.writeImage(bytes);
    this.#imageKept = true;
    return { status: loaded.status === 'unchanged' ? 'unchanged' : 'loaded', ...also };
  }

  #readShadow(shadow: ShadowSpec): Buffer | ImageStatus {
    if (this.#subscriptions.trials === 0)
      return refused('trial-unheard', 'a trial needs a subscription to its events; subscribe first');
    return new ImageReader().read(shadow.image);
  }

  #claim(): void {
    if (this.#claimed) return;
    this.#claimed = true;
    this.#native.releaseUnclaimed();
  }

  #remember(change: Partial<SwitchState>): void {
    this.#state = { ...this.#state, ...change };
    this.#folder.writeState(this.#state);
  }

  /** Where nobody is told that it is kept: a full disk is said, and takes the traffic of nobody. */
  #tryToRemember(change: Partial<SwitchState>): void {
    try {
      this.#remember(change);
    } catch (error) {
      this.#options.log('the state cannot be written; the next switch would begin with an older one', {
        reason: (error as Error).message,
      });
    }
  }

  #podAt(address: string): string | undefined {
    const spec = this.#ports.at(address);
    return spec?.kind === 'pod' ? `${spec.namespace}/${spec.name}` : undefined;
  }

  #answer(request: QueryRequest): QueryAnswers[QueryRequest['what']] {
    switch (request.what) {
      case 'status':
        return this.#status();
      case 'ports':
        return this.#ports.reports().filter(({ id }) => request.port === undefined || id === request.port);
      case 'counters':
        return this.#native.counters(request.port);
      case 'connections':
        return this.#native.connections(request.limit ?? defaultConnectionLimit, request.port);
      case 'explain':
        return this.#explain(request.flow);
      case 'image': {
        const { imageBytes, generation } = this.#native.figures();
        return { loaded: this.#hasImage, bytes: imageBytes, generation };
      }
    }
  }

  #explain(flow: QueryRequest['flow']): QueryAnswers['explain'] {
    const source = parseAddress(flow?.source ?? '');
    const destination = parseAddress(flow?.destination ?? '');
    if (flow === undefined || source === undefined || destination === undefined)
      throw new Error('a question that was not parsed');
    return this.#native.explain({
      source: addressBytes(source),
      destination: addressBytes(destination),
      family: source.family,
      protocol: flow.protocol,
      port: flow.port,
    });
  }

  #status(): SwitchStatus {
    const figures = this.#native.figures();
    const reports = this.#ports.reports();
    const live = reports.filter(({ status }) => status === 'live').length;
    const ofWorkers = figures.scheduleRefused === undefined ? [] : [figures.scheduleRefused];
    const refusedSchedules = [...ofWorkers, ...this.controlRefused];
    const { restored } = this.#ports;
    return {
      version: this.#options.version,
      pid: process.pid,
      uptimeSeconds: Number(process.hrtime.bigint() - this.#startedAt) / 1e9,
      epoch: this.#state.epoch,
      revision: this.#state.revision,
      generation: figures.generation,
      imageBytes: figures.imageBytes,
      ports: { live, failed: reports.length - live },
      ...(restored === null
        ? {}
        : {
            hostRestored: {
              times: restored.times,
              changes: restored.changes,
              secondsAgo: (performance.now() - restored.at) / 1000,
            },
          }),
      connections: { used: figures.connectionsUsed, capacity: figures.connectionsCapacity },
      workers: figures.workers,
      trial: figures.trial,
      udpSegmentation: figures.udpSegmentation,
      ...(refusedSchedules.length === 0 ? {} : { scheduleRefused: refusedSchedules }),
      supervised: this.#options.supervisorDescriptor >= 0 && figures.supervisorRefused === undefined,
      starts: this.#state.starts,
      lostEvents: figures.lostEvents + this.#subscriptions.lost,
    };
  }
}

function imageStatus(loaded: LoadedImage | undefined): ImageStatus | undefined {
  if (loaded === undefined) return undefined;
  return loaded.error === undefined
    ? { status: loaded.status }
    : refused(loaded.error.code, loaded.error.message);
}

/** A shadow that came with an image that was refused would be of another world. */
function shadowLeft(shadow: ShadowSpec | undefined): { shadow?: ImageStatus } {
  return shadow === undefined
    ? {}
    : { shadow: refused('shadow-left', 'the image that it came with was refused') };
}
