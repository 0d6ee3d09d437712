/**
 * The agent's compiler: follows the node's World from one compile to the next, so that a change costs what changed. Other policy
 * settings or a failure start it anew, which gives the same bytes.
 */
import { WeftError } from '../errors/problem.js';
import { Compiler } from '../image/compile.js';
import type { World } from '../model/world.js';
import type { Compile, CompiledFigures, CompileRequest } from './compile.js';

/** Bytes of an image whose memory is kept for the next. */
const mostKept = 8 * 1024 * 1024;

export function imageCompiler(): Compile {
  let follows: { readonly world: World; readonly settings: string; readonly compiler: Compiler } | null =
    null;
  /** The memory of the image before: fresh pages cost more than what is written to them. */
  let room: Uint8Array<ArrayBuffer> | undefined;
  return (request) => {
    const mostServices = request.limits.services;
    const settings = JSON.stringify([request.node, request.policy, mostServices]);
    if (follows === null || follows.world !== request.world || follows.settings !== settings) {
      const { world, node, policy } = request;
      follows = { world, settings, compiler: new Compiler(world, { node, settings: policy, mostServices }) };
    }
    const { compiler } = follows;
    // Set again once it went well: a compiler that threw half-way through an update is not to be trusted with the next.
    follows = null;
    const { image, problems, stats } = compiler.update(room);
    room = image.byteLength <= mostKept ? new Uint8Array(image.buffer) : undefined;
    follows = { world: request.world, settings, compiler };
    checkLimits(request, stats);
    const { identities, classes, programs, services } = stats;
    return { bytes: image, problems, figures: { identities, classes, programs, services } };
  };
}

/**
 * Over a limit there is no new image: the one before stays in force, and what is new gets nothing through. (Services have theirs in the
 * compiler: those that have no room are left out, and policy goes on.)
 */
function checkLimits({ limits }: CompileRequest, figures: CompiledFigures): void {
  for (const limit of ['identities', 'classes'] as const) {
    if (figures[limit] > limits[limit])
      throw new WeftError(
        'limit-exceeded',
        `The policies need ${figures[limit]} ${limit}, limits.${limit} is ${limits[limit]}. The policy before stays in force; raise the limit, or remove what is not needed.`,
      );
  }
}
