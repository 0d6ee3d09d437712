#!/usr/bin/env bash
# `kubectl weft ARGS`, where kubectl finds this as `kubectl-weft` on the PATH: `weft ARGS` that asks the cluster, never the machine that
# it runs on. kubectl's own --kubeconfig and --context stand behind `weft`, as for every plugin.
set -euo pipefail
export WEFT_KUBECTL_PLUGIN=1
exec bash "$(dirname "$(readlink -f "$0")")/weft.sh" "$@"
