#!/usr/bin/env bash
# Runs the test suites, after all the set-up they need, and ends with one line for all of them: "N passed, N failed".
#   test/run.sh [SUITE…]      all suites by default; WEFT_FUZZ_SECONDS bounds each fuzz target (default 10)
# A suite that cannot run here says why and counts as skipped, never as passed. Logs stay in build/test-logs/.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

purpose="test"
[ "${CI:-}" = true ] && purpose="ci"
bash deploy/setup.sh --yes --for "$purpose" || exit 1
bash deploy/build.sh || exit 1

all_suites=(unit property conformance native native-asan native-tsan fuzz arm64 netns e2e containerd)
suites=("$@")
[ ${#suites[@]} -gt 0 ] || suites=("${all_suites[@]}")

logs=build/test-logs
mkdir -p "$logs"
passed=0 failed=0 skipped=0
failed_suites=()
launcher=()
command -v ccache >/dev/null && launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)

# finish SUITE PASSED FAILED SKIPPED STATUS SECONDS: adds a suite's counts; a suite that ended badly without naming a failure is one.
finish() {
  local suite=$1 p=$2 f=$3 s=$4 status=$5 seconds=$6
  if [ "$status" -ne 0 ] && [ "$f" -eq 0 ]; then f=1; fi
  if [ "$status" -eq 0 ] && [ $((p + f + s)) -eq 0 ]; then f=1 && echo "$suite: ran no test" >&2; fi
  passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
  [ "$f" -gt 0 ] && failed_suites+=("$suite")
  printf '== %s: %d passed, %d failed, %d skipped (%d s)\n' "$suite" "$p" "$f" "$s" "$seconds"
}

skip() { # SUITE REASON
  skipped=$((skipped + 1))
  printf '== %s: not run: %s\n' "$1" "$2"
}

# node_suite SUITE CONCURRENCY FOLDER…: node's own runner; the names of what passed go to the log, what failed is shown whole.
node_suite() {
  local suite=$1 concurrency=$2 log="$logs/$1.log" started=$SECONDS status files=() folder
  shift 2
  for folder in "$@"; do
    [ -d "dist/$folder" ] && mapfile -t -O "${#files[@]}" files < <(find "dist/$folder" -name '*.test.js' | sort)
  done
  [ ${#files[@]} -gt 0 ] || { finish "$suite" 0 1 0 1 0 && echo "no test files under $*" >&2 && return; }
  timeout -k 10 1500 node --enable-source-maps --test --test-concurrency="$concurrency" --test-reporter=spec "${files[@]}" >"$log" 2>&1
  status=$?
  [ "$status" -eq 0 ] || sed -n '/failing tests:/,$p' "$log" | head -n 300
  [ "$status" -eq 124 ] && tail -n 30 "$log"
  count() { sed -nE "s/^ℹ $1 ([0-9]+)\$/\1/p" "$log" | tail -n 1; }
  local p f s c
  p=$(count pass) f=$(count fail) s=$(count skipped) c=$(count cancelled)
  finish "$suite" "${p:-0}" "$((${f:-0} + ${c:-0}))" "${s:-0}" "$status" $((SECONDS - started))
}

# cmake_build DIR OPTIONS…: configures and builds quietly; shows the compiler's words when it fails.
cmake_build() {
  local dir=$1 log
  log="$logs/$(basename "$1")-build.log"
  shift
  { cmake -S native -B "$dir" -G Ninja "${launcher[@]}" "$@" && ninja -C "$dir"; } >"$log" 2>&1 || { tail -n 60 "$log" && return 1; }
}

# doctest_suite SUITE COMMAND…: counts doctest's own summary line.
doctest_suite() {
  local suite=$1 log="$logs/$1.log" started=$SECONDS status summary p f s
  shift
  timeout -k 10 1200 "$@" >"$log" 2>&1
  status=$?
  [ "$status" -eq 0 ] || tail -n 120 "$log"
  summary=$(grep -aoE 'test cases: .*' "$log" | tail -n 1 | tr -d ' ')
  p=$(sed -nE 's/.*\|([0-9]+)passed.*/\1/p' <<<"$summary") f=$(sed -nE 's/.*\|([0-9]+)failed.*/\1/p' <<<"$summary")
  s=$(sed -nE 's/.*\|([0-9]+)skipped.*/\1/p' <<<"$summary")
  # A case that finds no TAP to test with says so and returns, which doctest counts as passed; here it is not.
  local not_run
  not_run=$(grep -ac 'MESSAGE: not run' "$log")
  [ "$not_run" -le "${p:-0}" ] || not_run=${p:-0}
  finish "$suite" $((${p:-0} - not_run)) "${f:-0}" $((${s:-0} + not_run)) "$status" $((SECONDS - started))
}

have_tap() { [ "$(id -u)" -eq 0 ] && [ -c /dev/net/tun ]; }

fuzz_suite() {
  local started=$SECONDS p=0 f=0 target name seconds=${WEFT_FUZZ_SECONDS:-10} corpus scratch log
  command -v clang++-19 >/dev/null || { skip fuzz "clang++-19 is not installed (deploy/setup.sh --for ci)" && return; }
  cmake_build build/native-fuzz -DCMAKE_CXX_COMPILER=clang++-19 -DWEFT_FUZZ=ON || { finish fuzz 0 1 0 1 0 && return; }
  scratch=$(mktemp -d)
  for target in build/native-fuzz/*_fuzz; do
    name=$(basename "$target") corpus=test/fuzz/corpus/${name%_fuzz} log="$logs/$name.log"
    mkdir -p "$scratch/$name"
    if "$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -artifact_prefix="$logs/$name-" \
      "$scratch/$name" "$corpus" >"$log" 2>&1; then
      p=$((p + 1)) && echo "$name: $(grep -aoE 'Done [0-9]+ runs in [0-9]+ second' "$log")s"
    else
      f=$((f + 1)) && tail -n 60 "$log"
    fi
  done
  rm -rf "$scratch"
  finish fuzz "$p" "$f" 0 0 $((SECONDS - started))
}

# The native tests run under qemu; the addon and the static programs are only linked, for the baseline that every 64-bit board has.
arm64_suite() {
  local dir=build/native-arm64 product include
  include=$(node -p 'require("node:path").join(process.execPath, "../../include/node")')
  if ! command -v aarch64-linux-gnu-g++ >/dev/null || ! command -v qemu-aarch64-static >/dev/null; then
    skip arm64 "the cross compiler or qemu-user is not installed (deploy/setup.sh --for ci)" && return
  fi
  if ! cmake_build "$dir" -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 \
    -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ -DCMAKE_CXX_FLAGS=-march=armv8-a -DCMAKE_EXE_LINKER_FLAGS=-static \
    -DWEFT_NODE_INCLUDE="$include"; then
    finish arm64 0 1 0 1 0 && return
  fi
  doctest_suite arm64 qemu-aarch64-static "$dir/weft_tests"
  for product in weft.node weft-supervise weft-cni loopback; do
    # Bytes 18 and 19 of an ELF header are the machine; 0xb7 is AArch64.
    if [ "$(od -An -tx1 -j18 -N2 "$dir/$product" | tr -d ' ')" = b700 ]; then
      finish "arm64 $product" 1 0 0 0 0
    else
      finish "arm64 $product" 0 1 0 1 0
    fi
  done
}

for suite in "${suites[@]}"; do
  printf '== %s\n' "$suite"
  case "$suite" in
    unit) node_suite unit 2 test/unit ;;
    property) node_suite property 1 test/property ;;
    conformance) if have_tap; then node_suite conformance 1 test/conformance; else skip conformance "root and /dev/net/tun are needed"; fi ;;
    native)
      if cmake_build build/native; then
        doctest_suite native build/native/weft_tests
        for target in build/native/*_fuzz; do
          corpus=test/fuzz/corpus/$(basename "${target%_fuzz}")
          if replayed=$(timeout -k 5 300 "$target" "$corpus" 2>&1); then
            finish "corpus of $(basename "$target") ($replayed)" 1 0 0 0 0
          else
            printf '%s\n' "$replayed" | tail -n 40
            finish "corpus of $(basename "$target")" 0 1 0 1 0
          fi
        done
      else finish native 0 1 0 1 0; fi
      if bash deploy/build.sh bench && cmake --build build/bench-programs --target weft-bench-tests >"$logs/bench-build.log" 2>&1; then
        doctest_suite bench-programs build/bench/weft-bench-tests
      else
        tail -n 40 "$logs/bench-build.log" 2>/dev/null
        finish bench-programs 0 1 0 1 0
      fi ;;
    native-asan)
      if cmake_build build/native-asan -DWEFT_SANITIZE=address; then
        doctest_suite native-asan env ASAN_OPTIONS=detect_stack_use_after_return=1 build/native-asan/weft_tests
      else finish native-asan 0 1 0 1 0; fi ;;
    native-tsan)
      if cmake_build build/native-tsan -DWEFT_SANITIZE=thread; then
        doctest_suite native-tsan env TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1 setarch -R build/native-tsan/weft_tests
      else finish native-tsan 0 1 0 1 0; fi ;;
    fuzz) fuzz_suite ;;
    arm64) arm64_suite ;;
    netns) if have_tap; then node_suite netns 1 test/netns; else skip netns "root and /dev/net/tun are needed"; fi ;;
    e2e) if have_tap; then node_suite e2e 1 test/e2e; else skip e2e "root and /dev/net/tun are needed"; fi ;;
    containerd)
      if ! have_tap; then
        skip containerd "root and /dev/net/tun are needed"
      elif ! command -v containerd >/dev/null || ! command -v runc >/dev/null; then
        skip containerd "containerd or runc is not installed (deploy/setup.sh --for ci)"
      else node_suite containerd 1 test/containerd; fi ;;
    *) echo "test: unknown suite '$suite' (known: ${all_suites[*]})" >&2 && exit 2 ;;
  esac
done

[ ${#failed_suites[@]} -eq 0 ] || printf 'failed: %s\n' "${failed_suites[*]}"
if [ "$skipped" -gt 0 ]; then
  printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
else
  printf '%d passed, %d failed\n' "$passed" "$failed"
fi
[ "$failed" -eq 0 ]
