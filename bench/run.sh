#!/usr/bin/env bash
# The bench suite, after all the set-up it needs: packages of the contenders, everything built. Options: `npm run bench -- --help`.
set -euo pipefail
cd "$(dirname "$0")/.."

prepare=true
for argument in "$@"; do
  # Nothing is measured by these two: the TypeScript alone will do.
  case "$argument" in --list | --help | -h) prepare=false ;; esac
done
if $prepare; then
  bash deploy/setup.sh --yes --for bench
  bash deploy/build.sh
  bash deploy/build.sh bench
else
  bash deploy/setup.sh --yes --for run
  bash deploy/build.sh ts
fi
exec node --enable-source-maps dist/bench/run.js "$@"
