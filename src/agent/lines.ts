/** The framing is the switch protocol's. */
export { type LineHandlers, Lines } from '../dataplane/lines.js';
