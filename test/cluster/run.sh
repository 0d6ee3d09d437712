#!/usr/bin/env bash
# npm run test:cluster: weft as the network of a real cluster. Ends with one line: "N passed, N failed, N not run".
#   K3S_BIN=/path/to/k3s     starts K3s on a machine of the test's own: namespaces, an external containerd, agent and switch (root)
#   KUBERNETES_BIN=/folder   the same with Kubernetes' own programs: kube-apiserver, kube-controller-manager, kube-scheduler, kubelet,
#                            kube-proxy and kubectl of one release; etcd from there or from this machine (Debian: etcd-server)
#   KUBECONFIG=…             a cluster that has weft already, reached with kubectl; cases that need its node are not run.
#                            WEFT_TEST_IMAGE names the image of the tests there (test/support/container-image.ts makes it)
# With one of the first two:
#   WEFT_TEST_FAMILIES       ipv4 (default), dual (pods and Services have both), dual6 (the primary one is IPv6) or, with KUBERNETES_BIN, ipv6
#   WEFT_TEST_KUBE_PROXY     a kube-proxy in place of the cluster's own, and
#   WEFT_TEST_KUBE_PROXY_MODE  what it writes: iptables (default) or nftables; also for the kube-proxy of KUBERNETES_BIN
#   WEFT_TEST_COREDNS        a CoreDNS (static) in place of a stand-in
#   WEFT_TEST_KLIPPER        the `entry` script of K3s' load balancer, run with this machine's iptables instead of a stand-in
# With any:
#   WEFT_TEST_PARTS          of conformance,changes,services,external,endpoints,dns,families,host-ports,commands,far,restarts,nodes,image; all
#                            by default. image: the container image and deploy/weft.yaml on a K3s of its own (K3S_BIN)
#   WEFT_TEST_ARCHIVE        an archive of the image (npm run image), for that part; made where it is not set
#   WEFT_TEST_PODS           how many pods come and go at once (200)
#   WEFT_TEST_CHANGES        how many changes of policies and labels (12); WEFT_TEST_SEED: which (1); WEFT_TEST_CHURN: how many pods come and
#                            go beside them (8)
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
bash deploy/setup.sh --yes --for "$([ -n "${K3S_BIN:-}${KUBERNETES_BIN:-}" ] && echo ci || echo run)" || exit 1
bash deploy/build.sh || exit 1

mkdir -p build/test-logs
log=build/test-logs/cluster.log
files=()
parts=${WEFT_TEST_PARTS:-all}
[ "$parts" = image ] || files+=(dist/test/cluster/cluster.test.js)
case ",$parts," in *,all,* | *,image,*) files+=(dist/test/cluster/image.test.js) ;; esac
node --enable-source-maps --test --test-concurrency=1 --test-reporter=spec "${files[@]}" 2>&1 | tee "$log"
status=${PIPESTATUS[0]}
count() { sed -nE "s/^ℹ $1 ([0-9]+)\$/\1/p" "$log" | tail -n 1; }
passed=$(count pass) failed=$(count fail) cancelled=$(count cancelled) not_run=$(count skipped)
failed=$((${failed:-0} + ${cancelled:-0}))
if [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; then failed=1; fi
if [ -z "${K3S_BIN:-}${KUBERNETES_BIN:-}${KUBECONFIG:-}" ]; then
  echo 'test:cluster: there is no cluster to test with: set K3S_BIN (a K3s binary), KUBERNETES_BIN (a folder) or KUBECONFIG. Nothing was run.'
fi
printf '%d passed, %d failed, %d not run\n' "${passed:-0}" "$failed" "${not_run:-0}"
[ "$failed" -eq 0 ]
