#!/usr/bin/env bash
# Formats (--write) or checks (--check) the C++ sources and checks the shell scripts.
# clang-format's output differs between versions, so that exactly one version decides; where it is missing, that is said and is a failure.
set -euo pipefail
cd "$(dirname "$0")/.."

formatter=clang-format-19
command -v "$formatter" >/dev/null || { echo "lint: $formatter is missing; deploy/setup.sh --for ci installs it" >&2 && exit 2; }
mapfile -t sources < <(git ls-files --cached --others --exclude-standard 'native/*.cc' 'native/*.h' 'bench/programs/*.cc' 'bench/programs/*.h' | grep -v '^native/generated/')
case "${1:-}" in
  --write) "$formatter" -i "${sources[@]}" ;;
  --check) "$formatter" --dry-run --Werror "${sources[@]}" ;;
  *) echo "usage: native/format.sh --write|--check" >&2 && exit 2 ;;
esac
if command -v shellcheck >/dev/null; then
  mapfile -t scripts < <(git ls-files --cached --others --exclude-standard '*.sh' '.ci/run')
  shellcheck "${scripts[@]}"
fi
