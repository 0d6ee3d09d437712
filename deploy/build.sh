#!/usr/bin/env bash
# Builds everything that runs: TypeScript into dist/, the addon into build/Release/weft.node, the static programs into build/bin/.
#   deploy/build.sh [all|ts|native|bench]
# bench: the programs of the bench suite into build/bench/; only when it is asked for.
# Idempotent and quick when nothing changed. Never touches the network: the addon is compiled with the headers that came with the running
# Node.js where they are there (include/node beside its bin/), else with those that node-gyp has in its cache.
set -euo pipefail
cd "$(dirname "$0")/.."

what=${1:-all}
case "$what" in all | ts | native | bench) ;; *) echo "usage: deploy/build.sh [all|ts|native|bench]" >&2 && exit 2 ;; esac
[ -d node_modules ] || { echo "build: node_modules/ is missing; run \`npm run setup\` first" >&2 && exit 1; }

mkdir -p build/bin
# Two builds at once would trample on each other's objects.
exec 9>build/.lock
flock 9

# run LOG COMMAND…: quiet; on failure the log is shown, since compilers say most at the end.
run() {
  local log=$1
  shift
  if ! "$@" >"$log" 2>&1; then
    tail -n 80 "$log" >&2
    echo "build: failed: $*; the whole log is $log" >&2
    exit 1
  fi
}

build_ts() { node_modules/.bin/tsc -p tsconfig.json; }

# fingerprint [FOLDER…]: what the native build depends on: names, sizes and times of its sources (and of FOLDERs), the compiler and this Node.js.
fingerprint() {
  {
    find native "$@" binding.gyp deploy/build.sh package-lock.json -type f ! -path 'native/test/*' ! -path 'native/fuzz/*' ! -path 'native/generate/*' -printf '%p %s %T@\n' | sort
    node -p 'process.execPath + process.version + process.arch'
    "${CXX:-g++}" --version | head -n 1
  } | sha256sum | cut -d ' ' -f 1
}

build_native() {
  local now jobs prefix nodedir=() launcher=()
  now=$(fingerprint)
  if [ -f build/Release/weft.node ] && [ -x build/bin/weft-supervise ] && [ -x build/bin/weft-cni ] && [ "$(cat build/.fingerprint 2>/dev/null)" = "$now" ]; then
    return
  fi
  jobs=${WEFT_JOBS:-$(nproc)}
  prefix=$(node -p 'require("node:path").dirname(require("node:path").dirname(process.execPath))')
  [ -f "$prefix/include/node/common.gypi" ] && nodedir=(--nodedir="$prefix")
  echo "build: addon" >&2
  # ccache where it is there; make's CXX is read by the generated makefiles.
  if command -v ccache >/dev/null && [ -z "${CXX:-}" ]; then
    launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
    export CXX="ccache g++" CC="ccache gcc"
  fi
  # npm's own settings would reach node-gyp as environment variables; the paths above decide.
  run build/configure.log env -u npm_config_nodedir node_modules/.bin/node-gyp configure --release "${nodedir[@]}"
  run build/addon.log env -u npm_config_nodedir node_modules/.bin/node-gyp build --release -j "$jobs" "${nodedir[@]}"
  echo "build: static programs" >&2
  unset CXX CC
  # CMake refuses a cache that was made elsewhere: a checkout that was moved or copied with its build/ starts anew.
  if [ -f build/programs/CMakeCache.txt ] && ! grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$PWD/native" build/programs/CMakeCache.txt; then
    rm -rf build/programs
  fi
  run build/programs-configure.log cmake -S native -B build/programs -DCMAKE_BUILD_TYPE=Release "${launcher[@]}"
  local programs=(weft-supervise weft-cni loopback) program
  run build/programs.log cmake --build build/programs -j "$jobs" --target "${programs[@]}"
  for program in "${programs[@]}"; do
    # Renamed into place: the old file may be running.
    cp "build/programs/$program" "build/bin/.$program" && strip "build/bin/.$program" && mv -f "build/bin/.$program" "build/bin/$program"
  done
  echo "$now" >build/.fingerprint
}

build_bench() {
  local now jobs launcher=()
  now=$(fingerprint bench/programs)
  [ "$(cat build/bench/.fingerprint 2>/dev/null)" = "$now" ] && return
  jobs=${WEFT_JOBS:-$(nproc)}
  command -v ccache >/dev/null && launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
  echo "build: programs of the bench suite" >&2
  mkdir -p build/bench
  if [ -f build/bench-programs/CMakeCache.txt ] && ! grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$PWD/bench/programs" build/bench-programs/CMakeCache.txt; then
    rm -rf build/bench-programs
  fi
  # The linker replaces its output by a new file, so that a program that is running is not disturbed.
  run build/bench-configure.log cmake -S bench/programs -B build/bench-programs -DCMAKE_BUILD_TYPE=Release \
    -DCMAKE_RUNTIME_OUTPUT_DIRECTORY="$PWD/build/bench" "${launcher[@]}"
  run build/bench-programs.log cmake --build build/bench-programs -j "$jobs"
  echo "$now" >build/bench/.fingerprint
}

case "$what" in
  all) build_ts && build_native ;;
  ts) build_ts ;;
  native) build_native ;;
  bench) build_bench ;;
esac
