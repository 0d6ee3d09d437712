/**
 * Every stable error code of weft's TypeScript with its meaning. Codes are what programs may rely on; messages may change. A test
 * holds this list and the sources together, both ways. Codes that come out of the native part (system calls on devices and
 * namespaces, image loader, connection table) name the object and operation, such as `tap-create`, and are passed on as they are.
 */
export const errorCodes = {
  // command line
  usage: 'The command was given arguments that it cannot use.',
  input: 'The manifests that the command was given have errors.',
  queries: 'The file of queries cannot be read, or a query is not valid.',
  'test-file': 'The file of expected verdicts cannot be read, or is not valid.',
  junit: 'The JUnit report cannot be written.',
  'unknown-end': 'A pod, Service or node that was named is not in the given manifests.',
  'capture-write': 'The capture file cannot be written.',

  // configuration
  'config-read': 'The configuration file cannot be read.',
  'config-invalid': 'The configuration file has errors; each is one of the codes below.',
  'config-syntax': 'The configuration file is no valid YAML.',
  'config-duplicate-key': 'An option is given twice.',
  'config-unknown-key': 'There is no option of that name at that place.',
  'config-type': "An option's value is of the wrong type.",
  'config-range': "An option's value is outside of its bounds.",
  'config-value': "An option's value is none of those that are allowed.",

  // agent
  'agent-away': 'No agent answers at the socket.',
  'agent-denied': "The agent's socket is not open to this user.",
  'agent-running': 'Another agent answers at the socket of this run directory.',
  'agent-listen': 'The agent cannot listen at its socket.',
  'agent-stopping': 'The agent is ending; the request was not carried out.',
  'agent-internal': 'The agent met a state that cannot be; its log has more.',
  'peer-refused': 'The client is neither root nor the user that the agent or switch runs as.',
  'request-invalid': 'The agent does not know the request, or it is no JSON object.',
  'run-directory': 'The run directory cannot be made.',
  'observers-exhausted': 'As many clients follow as agent.observers allows.',
  'attach-invalid': 'A field of an attach request is not valid.',
  'attach-abandoned': 'Whoever asked for a pod to be attached has gone before it was.',
  'attach-replaced': 'The pod was detached or attached anew while it was being attached.',
  'pod-unknown': 'No source knows the pod that is to be attached.',
  'port-unknown': 'The pod is not attached to this node.',
  'port-pending': 'The port has not come up in time, or is not up yet.',
  'port-failed': 'The switch could not bring up the port and did not say why.',
  'ports-exhausted': 'The node carries as many pods as limits.ports allows.',
  'limit-exceeded':
    'The policies need more identities, classes or services than configured; the policy before stays in force.',
  'image-write': 'The policy image cannot be written to the run directory.',
  'image-refused': 'The switch refused the policy image; the one before stays in force.',
  'source-not-synced': 'A source has not told everything yet; nothing is published before it has.',
  'addresses-exhausted': 'All addresses of a pod CIDR are in use.',
  'address-taken': 'An address that was asked for belongs to another pod.',
  'address-outside': 'An address that was asked for is none that this node gives to pods.',
  'pod-cidrs-missing': 'The node has no pod CIDR yet, so pods get no address.',
  'pod-cidrs-changed': 'Pods have addresses of pod CIDRs that the node had before.',
  'pod-cidrs-differ': 'network.podCIDRs is not what the Node object says.',
  'leases-write': 'A lease cannot be written to the run directory.',
  'leases-damaged': 'A line of the lease journal cannot be read and is left out.',
  'telemetry-listen': 'The metrics cannot be served at the configured address.',

  // Kubernetes API
  'kube-away': 'The API server cannot be reached, or does not answer in time.',
  'kube-tls': 'The certificate of the API server is not believed.',
  'kube-credentials': 'A file with a token, key or certificate for the API server cannot be read.',
  'kube-unauthorized': 'The API server does not accept the token or client certificate.',
  'kube-forbidden': 'The API server denies what was asked; a rule of RBAC is missing.',
  'kube-absent': 'The API server does not have what was asked for.',
  'kube-expired': 'The version or page that was asked for is too old; what follows is a new list.',
  'kube-busy': 'The API server has too much to do and asks to come back later.',
  'kube-failed': 'The API server could not do what was asked.',
  'kube-garbled': 'An answer of the API server is not what the API says.',
  'kube-too-large': 'An answer of the API server is longer than allowed.',
  'kube-object':
    'An object of the API cannot be read; it counts as absent, a policy as one that allows nothing.',
  'kubeconfig-read': 'The kubeconfig cannot be read.',
  'kubeconfig-invalid': 'The kubeconfig does not say how to reach a cluster.',
  'kubeconfig-plugin': 'The kubeconfig logs in by a program or plugin, which weft does not run.',

  // switch
  'addon-load': 'The native addon cannot be loaded.',
  'switch-away': 'There is no connection to the switch.',
  'switch-slow': 'The switch has not acknowledged the latest state in time.',
  'switch-busy': 'Too many publications wait in the switch.',
  'switch-stopping': 'The switch is ending.',
  'switch-internal': 'The switch met a state that cannot be; its log has more.',
  'frame-too-long': 'A request to the switch is longer than allowed.',
  'frame-not-json': 'A request to the switch is no JSON object.',
  'frame-invalid': 'A request to the switch has a wrong shape.',
  'not-greeted': 'A request to the switch came before hello.',
  'not-agent': 'Only an agent may publish.',
  'epoch-stale': 'A later agent is in charge of the switch.',
  'subscription-unknown': 'There is no subscription of that number.',
} as const satisfies Readonly<Record<string, string>>;

/** Codes of findings: about manifests (`weft policy lint`, `weft lab apply`) and about what policies mean. */
export const findingCodes = {
  // reading
  unreadable: 'A file or folder cannot be read.',
  syntax: 'The text is no valid YAML or JSON.',
  'not-an-object': 'A document is no Kubernetes object.',
  'missing-separator': 'Two objects stand in one document; `---` is missing between them.',
  'too-deep': 'The text nests deeper than any manifest does.',
  'kind-skipped': 'Objects of this kind are not used.',
  'duplicate-object': 'An object is defined twice in the manifest folder; the later one counts.',
  'repeated-object': 'An object is given twice; the later one counts.',
  'yaml-boolean': 'A bare word that kubectl reads as a boolean.',

  // shape
  'missing-api-version': 'An object has no apiVersion.',
  'missing-kind': 'An object has no kind.',
  'missing-name': 'An object has no name.',
  'missing-field': 'A field that is needed is not there.',
  'unknown-field': 'There is no such field at that place.',
  'unknown-kind': 'weft does not know this kind.',
  'wrong-type': 'A field is of the wrong type.',
  'lost-label': 'A label stands beside the map that it belongs into.',
  'api-version': 'The kind is not served under this apiVersion.',
  'removed-api-version': 'The apiVersion was removed from Kubernetes.',
  'namespace-not-allowed': 'The kind has no namespace.',
  'policy-inside-object': 'A NetworkPolicy stands inside another object.',

  // values
  'invalid-name': 'A name is not one that Kubernetes allows.',
  'invalid-label': 'A label is not one that Kubernetes allows.',
  'invalid-operator': 'A selector has an operator that does not exist.',
  'invalid-values': 'The values of a selector do not fit its operator.',
  'invalid-policy-type': 'policyTypes has another entry than Ingress and Egress.',
  'invalid-port': 'A port is no number from 1 to 65535 and no port name.',
  'invalid-end-port': 'endPort is below port, or stands without a port number.',
  'invalid-protocol': 'A protocol is none of TCP, UDP and SCTP.',
  'invalid-cidr': 'An ipBlock is no CIDR.',
  'invalid-count': 'A number of replicas is not valid.',
  'cidr-normalised': 'A CIDR has bits below its prefix, which are ignored.',
  'except-outside-block': 'An exception does not lie inside its ipBlock.',
  'empty-entry': 'An entry of a list is empty.',
  'empty-peer': 'A peer names nobody.',
  'peer-combination': 'A peer combines ipBlock with selectors.',
  'repeated-value': 'A value is listed twice.',
  'too-many-replicas': 'A workload has more replicas than are made; the rest is left out.',
  'selector-template-mismatch': "A workload's selector does not match its own pods.",

  // meaning
  'address-conflict': 'Two pods have one address; one of them counts.',
  'service-address-conflict': 'Two Services have one address and port; one of them counts.',
  'dns-inbound': 'Port 53 is opened inbound where outbound is meant.',
  'egress-without-dns': 'Egress is isolated and nothing allows DNS.',
  'matches-nothing': 'A peer matches no pod of the given manifests.',
  'no-such-namespace': 'A namespace selector matches no namespace of the given manifests.',
  'not-enforced': 'A policy of another product, which weft does not enforce.',
  'policy-types-missing': 'There are egress rules and no policyTypes.',
  'port-not-served': 'No selected pod serves a port that a rule opens.',
  'rule-covered': 'Another rule allows all that this one does.',
  'rules-ignored': 'Rules of a direction that policyTypes does not name.',
  'selects-nothing': 'A policy selects no pod of the given manifests.',
} as const satisfies Readonly<Record<string, string>>;

/** Codes of the lab. */
export const labCodes = {
  internal: "The lab's first process met a state that cannot be.",
  'lab-address-taken': 'Two pods of a lab were given one address.',
  'lab-addresses-exhausted': "The lab's pod or service CIDR has no address left.",
  'lab-apply': 'Objects could not be applied to the lab.',
  'lab-away': "The lab's socket does not answer, or its connection has ended.",
  'lab-cidr': 'A --pod-cidr is no CIDR.',
  'lab-example': 'There is no bundled example of that name.',
  'lab-exists': 'A lab of that name runs already.',
  'lab-external': 'An external address cannot be had by the lab.',
  'lab-ip': 'The command `ip` failed in the lab.',
  'lab-namespaces': 'This user cannot make the namespaces of a lab.',
  'lab-no-end': 'An end that was named is not in the lab.',
  'lab-no-pod': 'There is no such pod in the lab.',
  'lab-none': 'No lab of that name is running.',
  'tune-not-built': 'The bench suite, which tuning measures with, is not built.',
  'lab-not-built': 'A program that the lab needs is not built.',
  'lab-not-first': "The lab's first process was started by hand.",
  'lab-pod': 'A pod of the lab could not be brought up.',
  'lab-port': "A pod's port could not be served.",
  'lab-prepare': 'The namespaces of the lab could not be prepared.',
  'lab-process': 'Switch or agent of the lab has ended.',
  'lab-request': 'The lab does not know the request.',
  'lab-start': 'The lab did not start.',
  'lab-tun-missing': 'There is no /dev/net/tun.',
  'lab-tun-permission': '/dev/net/tun may not be opened.',
  'lab-unshare': 'The command `unshare` failed.',
} as const satisfies Readonly<Record<string, string>>;

export type ErrorCode = keyof typeof errorCodes | keyof typeof findingCodes | keyof typeof labCodes;

/** Every code with its sentence. */
export const allCodes: Readonly<Record<string, string>> = { ...errorCodes, ...findingCodes, ...labCodes };
