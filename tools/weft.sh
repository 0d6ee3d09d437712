#!/usr/bin/env bash
# `npm run -s weft -- ARGS` in a checkout: runs the command line, after set-up and build where the checkout has not been built yet.
# Standard output is the command's alone.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
if [ ! -f "$root/dist/src/cli/main.js" ] || [ ! -f "$root/build/Release/weft.node" ]; then
  bash "$root/tools/setup.sh" --yes >&2
  bash "$root/tools/build.sh" >&2
fi
# npm runs scripts in the package's folder; paths on the command line are meant from where the person stands.
cd "${INIT_CWD:-$PWD}"
exec node --enable-source-maps "$root/dist/src/cli/main.js" "$@"
