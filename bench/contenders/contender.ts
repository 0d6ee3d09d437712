/**
 * A contender: one way to connect two pods, with the policies that its users would have. Every contender has a node of its own (a network
 * namespace) and two pods (network namespaces), so that all of them can stand ready at once and rounds can be interleaved: one
 * that is not being measured does nothing.
 *
 * What is allowed is the same for all: the client pod may reach the server pod on `allowedPorts`, TCP and UDP, and nothing else reaches
 * either of them. A contender without policies (`policies === 0`) lets everything pass, and says so.
 */

/** Where servers of workloads listen, TCP and UDP; policies under test allow exactly this range. */
export const allowedPorts = { first: 5000, last: 5999 } as const;
/** A port that has a listener when enforcement is shown, and that no policy allows. */
export const deniedPort = 6666;
/** Of the policies of a contender, this many select the pods under test; the others select other pods. */
export const policiesUnderTest = 10;

export interface BenchPod {
  /** Path of its network namespace, such as /run/netns/weft-bench-1-client. */
  readonly netns: string;
  readonly ipv4: string;
  /** Name of its interface. */
  readonly ifname: string;
}

/** What a contender is made from. */
export interface Site {
  /** Unique on this machine while the run lasts; short enough for an interface name with four more characters (at most 11). */
  readonly tag: string;
  /** A folder of its own for files, on tmpfs; removed with the contender. */
  readonly folder: string;
  /** Words for the progress display; one line. */
  readonly say: (text: string) => void;
}

/** A contender that stands. */
export interface Running {
  readonly client: BenchPod;
  readonly server: BenchPod;
  /** A virtual address that leads to the server pod, on the same port, for each of `ports`; absent: none. */
  readonly clusterIP?: { readonly ipv4: string; readonly ports: readonly number[] };
  /** Processes of the data plane (not the kernel's), for CPU and memory; read anew each time. */
  processes(): readonly number[];
  /** Ends processes, removes namespaces. Safe to call twice. */
  stop(): Promise<void>;
}

export interface Contender {
  /** In tables and on the command line: lower case, `-` between words, the number of policies last: `kube-router-1000`. */
  readonly name: string;
  /** One sentence for the README and the report. */
  readonly description: string;
  /** Policies loaded, 0 where it has none. */
  readonly policies: number;
  /** Whether it can enforce at all (a raw pump or a plain bridge cannot); where it does, a denied port is tried before it is timed. */
  readonly enforces: boolean;
  /** Debian packages it needs beside those of the suite itself. */
  readonly packages: readonly string[];
  /** Why it cannot run on this machine (a kernel module, a device), or null. Asked after its packages are installed. */
  unavailable(): Promise<string | null>;
  /** Throws with everything undone when it cannot be made. */
  start(site: Site): Promise<Running>;
}
