#!/usr/bin/env bash
# The command line of a checkout, as `npm run -s weft -- ARGS` or, after `npm install -g .`, as `weft ARGS`: set-up and build come
# first where the checkout has not been built yet. Standard output is the command's alone.
set -euo pipefail
root=$(dirname "$(dirname "$(readlink -f "$0")")")
if [ ! -f "$root/dist/src/cli/main.js" ] || [ ! -f "$root/build/Release/weft.node" ]; then
  bash "$root/deploy/setup.sh" --yes >&2
  bash "$root/deploy/build.sh" >&2
fi
# Tuning measures with the bench suite's programs, which nothing else needs.
case "${1:-} $*" in tune*\ --help* | tune*\ -h*) ;; tune*) bash "$root/deploy/build.sh" bench >&2 ;; esac
# npm runs scripts in the package's folder; paths on the command line are meant from where the person stands.
if [ "${npm_lifecycle_event:-}" = weft ]; then cd "${INIT_CWD:-$PWD}"; fi
# The processes of a node: flags that keep their memory small, and no source maps in it.
case "${1:-}" in
  agent | switch)
    mapfile -t flags < <(grep -- '^--' "$root/deploy/node-flags")
    exec node "${flags[@]}" "$root/dist/src/cli/main.js" "$@"
    ;;
esac
exec node --enable-source-maps "$root/dist/src/cli/main.js" "$@"
