#!/usr/bin/env bash
# The whole of weft on this machine: set-up and build where they are missing, then a lab with the three-tier example, every pair of pods
# measured with real packets, the matrix, and an end that leaves nothing. Exit status 1 where measured and expected differ.
#   deploy/demo.sh [ARGUMENTS OF `weft lab demo`]
set -euo pipefail
caller=$PWD
cd "$(dirname "$0")/.."

ask=(--yes)
[ -t 0 ] && [ -t 2 ] && ask=()
bash deploy/setup.sh "${ask[@]}"
bash deploy/build.sh

entry=$PWD/dist/src/cli/main.js
cd "$caller"
# exec: no shell is left in between that could be killed alone.
exec node "$entry" lab demo "$@"
