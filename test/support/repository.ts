/** Where the repository's own files are, seen from a compiled test under dist/test/. */
import { packageRoot } from '../../src/dataplane/package-root.js';

/** Absolute path of the checkout. */
export const repositoryRoot = packageRoot();
