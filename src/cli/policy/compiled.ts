/**
 * The engines that ask the compiled image: decoded in TypeScript, and looked up by the code that judges packets. The image is compiled with
 * every pod local, as if each node's image were asked about its own pods.
 *
 * Exemptions are not in the image but the switch's (a packet of the node's own sockets, a pod to itself), because they hang on where a
 * packet comes from; here they hang on whose address it is.
 */
import { type ImageHandle, loadAddon } from '../../dataplane/addon.js';
import { compile } from '../../image/compile.js';
import { type DecodedImage, decode } from '../../image/decode.js';
import type { Direction } from '../../model/policy.js';
import { type Address, addressBytes } from '../../net/address.js';
import type { Directory } from '../../policy/directory.js';
import type { Flow, FlowVerdict, SideVerdict } from '../../policy/flow.js';
import type { Engine, EngineInput, EngineOptions } from './engine.js';

const noRule = 0xffffffff;
const noProgram = 0xffffffff;

function imageOf(input: EngineInput, options: EngineOptions): Uint8Array {
  return compile(input.directory.world, { allLocal: true, settings: options }).image;
}

/** IANA numbers; ICMP is another protocol in each family. */
function protocolNumber({ protocol, source }: Flow): number {
  switch (protocol) {
    case 'TCP':
      return 6;
    case 'UDP':
      return 17;
    case 'SCTP':
      return 132;
    case 'ICMP':
      return source.family === 4 ? 1 : 58;
  }
}

/** Why no rule is asked about this direction; undefined: it is judged. */
function exemption(
  directory: Directory,
  flow: Flow,
  direction: Direction,
  options: EngineOptions,
): 'no-pod' | 'self' | 'own-node' | undefined {
  const source = directory.podAt(flow.source);
  const destination = directory.podAt(flow.destination);
  const own = direction === 'egress' ? source : destination;
  if (own === undefined) return 'no-pod';
  if (source === destination) return 'self';
  if (direction === 'egress' && options.ownNodeEgress === 'judge') return undefined;
  const isOwnNode =
    direction === 'egress'
      ? directory.isOwnNode(own, flow.destination, 'destination')
      : directory.isOwnNode(own, flow.source, 'source');
  return isOwnNode ? 'own-node' : undefined;
}

/** What both kinds of lookup come down to for one direction of one flow. */
interface Found {
  readonly program: number | null;
  readonly allowed: boolean;
  readonly rule: { readonly policy: string; readonly index: number } | null;
}

function sideOf(
  exempt: 'no-pod' | 'self' | 'own-node' | undefined,
  found: () => Found,
  isolating: (program: number) => readonly string[],
): SideVerdict {
  if (exempt !== undefined) return { allowed: true, reason: exempt, isolatedBy: [] };
  const { program, allowed, rule } = found();
  // The directory knows a pod here; an image that does not would be a fault, and doubt denies.
  if (program === null) return { allowed: false, reason: 'isolated', isolatedBy: [] };
  const isolatedBy = isolating(program);
  if (rule !== null) return { allowed, reason: 'rule', policy: rule.policy, rule: rule.index, isolatedBy };
  return { allowed, reason: allowed ? 'not-isolated' : 'isolated', isolatedBy };
}

/** Names of isolating policies, sorted and looked up once for each program. */
function isolatingCache(
  lookup: (program: number, direction: Direction) => readonly string[],
): (direction: Direction) => (program: number) => readonly string[] {
  const known = {
    egress: new Map<number, readonly string[]>(),
    ingress: new Map<number, readonly string[]>(),
  };
  return (direction) => (program) => {
    let names = known[direction].get(program);
    if (names === undefined) {
      names = [...lookup(program, direction)].sort();
      known[direction].set(program, names);
    }
    return names;
  };
}

export function decodedEngine(input: EngineInput, options: EngineOptions): Engine {
  const decoded = decode(imageOf(input, options));
  if ('problem' in decoded) throw new Error(`a fresh image cannot be decoded: ${decoded.problem.message}`);
  const { image } = decoded;
  const isolating = isolatingCache((program, direction) => image.isolating(program, direction));
  return (flows) => flows.map((flow) => judgeDecoded(image, input.directory, flow, options, isolating));
}

function judgeDecoded(
  image: DecodedImage,
  directory: Directory,
  flow: Flow,
  options: EngineOptions,
  isolating: ReturnType<typeof isolatingCache>,
): FlowVerdict {
  const side = (direction: Direction): SideVerdict =>
    sideOf(
      exemption(directory, flow, direction, options),
      () => {
        const [own, peer] =
          direction === 'egress' ? [flow.source, flow.destination] : [flow.destination, flow.source];
        const { program } = image.classify(own);
        if (program === null) return { program, allowed: false, rule: null };
        const { peerClass } = image.classify(peer);
        const verdict = image.judge(program, direction, peerClass, protocolNumber(flow), flow.port);
        if (verdict.rule === null) return { program, allowed: verdict.allowed, rule: null };
        const { namespace, policy, index } = image.rule(verdict.rule);
        return { program, allowed: verdict.allowed, rule: { policy: `${namespace}/${policy}`, index } };
      },
      isolating(direction),
    );
  return { egress: side('egress'), ingress: side('ingress') };
}

export function nativeEngine(input: EngineInput, options: EngineOptions): Engine {
  const addon = loadAddon();
  const image = new addon.Image(imageOf(input, options));
  const names = image.ruleNames();
  const isolating = isolatingCache((program, direction) => image.isolatingPolicies(program, direction));
  return (flows) => {
    if (flows.length === 0) return [];
    const columns = columnsOf(flows);
    const sources = image.classify(columns.sources, columns.families).programs;
    const destinations = image.classify(columns.destinations, columns.families).programs;
    const answers = image.judge(columns);
    return flows.map((flow, i) => {
      const side = (
        direction: Direction,
        programs: Uint32Array,
        bit: number,
        rules: Uint32Array,
      ): SideVerdict =>
        sideOf(
          exemption(input.directory, flow, direction, options),
          () => {
            const program = programs[i] === noProgram ? null : programs[i]!;
            const name = rules[i] === noRule ? undefined : names[rules[i]!];
            return {
              program,
              allowed: (answers.allowed[i]! & bit) !== 0,
              rule: name === undefined ? null : { policy: name.policy, index: name.index },
            };
          },
          isolating(direction),
        );
      return {
        egress: side('egress', sources, 1, answers.egressRules),
        ingress: side('ingress', destinations, 2, answers.ingressRules),
      };
    });
  };
}

function columnsOf(flows: readonly Flow[]): Parameters<ImageHandle['judge']>[0] {
  const columns = {
    sources: new Uint8Array(16 * flows.length),
    destinations: new Uint8Array(16 * flows.length),
    families: new Uint8Array(flows.length),
    protocols: new Uint8Array(flows.length),
    ports: new Uint16Array(flows.length),
  };
  const put = (into: Uint8Array, i: number, address: Address) => into.set(addressBytes(address), 16 * i);
  for (const [i, flow] of flows.entries()) {
    put(columns.sources, i, flow.source);
    put(columns.destinations, i, flow.destination);
    columns.families[i] = flow.source.family;
    columns.protocols[i] = protocolNumber(flow);
    columns.ports[i] = flow.port;
  }
  return columns;
}
