#!/usr/bin/env bash
# Brings a fresh Debian or Ubuntu machine to where weft can be built: system packages (listed first; asked for on a terminal),
# then the npm packages of the lock file. Does nothing, quickly, when everything is there.
#   deploy/setup.sh [--yes] [--for run|image|test|ci|bench]
# --yes   install system packages without asking (also what happens where there is no terminal to ask on)
# --for   run: build and lab (default); image: also what weft's image is made of; test: also what the test suites use; ci: also formatters, linters, fuzzing, arm64;
#         bench: what the contenders of the bench suite are made of, as far as it can be had: what lacks is reported there
set -euo pipefail
cd "$(dirname "$0")/.."

assume_yes=false purpose=run
while [ $# -gt 0 ]; do
  case "$1" in
    --yes | -y) assume_yes=true ;;
    --for) purpose="${2:?--for needs run, image, test, ci or bench}" && shift ;;
    *) echo "setup: unknown argument '$1' (known: --yes, --for run|image|test|ci|bench)" >&2 && exit 2 ;;
  esac
  shift
done

say() { printf 'setup: %s\n' "$*" >&2; }

[ "$(uname -s)" = Linux ] || { say "weft needs Linux (this is $(uname -s)): its data plane is the kernel's TAP device." && exit 2; }
node_major=$(node -p 'process.versions.node.split(".")[0]' 2>/dev/null || echo 0)
[ "$node_major" -ge 20 ] || { say "Node.js 20 or newer is needed, found $(node --version 2>/dev/null || echo none). See https://nodejs.org." && exit 2; }

# What is looked for is a package, not a command: a command may be there without its development files.
packages=(g++ make cmake ninja-build python3 iproute2 util-linux)
# What the run can do without; each is installed by itself, so that one that cannot be had does not keep the others away.
# nft and conntrack: what a node of a cluster needs, and a lab does not.
optional=(nftables conntrack)
if [ "$purpose" = bench ]; then
  optional=(openvswitch-switch-dpdk iptables ipset nftables conntrack ethtool valgrind)
elif [ "$purpose" = image ]; then
  packages+=(nftables iptables conntrack busybox-static)
elif [ "$purpose" != run ]; then
  packages+=(doctest-dev ethtool tcpdump iperf3 python3-scapy nftables iptables conntrack procps)
fi
if [ "$purpose" = ci ]; then
  packages+=(clang-19 clang-format-19 clang-tidy-19 libclang-rt-19-dev shellcheck ccache zsh fish
    g++-aarch64-linux-gnu qemu-user-static containernetworking-plugins containerd runc dhcpcd-base dbus
    busybox-static)
fi

installed() { dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null | grep -qx installed; }

missing=() lacking=()
if command -v dpkg-query >/dev/null; then
  for package in "${packages[@]}"; do
    installed "$package" || missing+=("$package")
  done
  for package in "${optional[@]}"; do
    installed "$package" || lacking+=("$package")
  done
else
  for command in g++ make cmake ninja python3 ip unshare; do
    command -v "$command" >/dev/null || missing+=("$command")
  done
  if [ ${#missing[@]} -gt 0 ]; then
    say "this is not Debian or Ubuntu; install these with your package manager, then run this again: ${missing[*]}"
    exit 2
  fi
fi

if [ $((${#missing[@]} + ${#lacking[@]})) -gt 0 ]; then
  say "these system packages are missing: ${missing[*]} ${lacking[*]}"
  as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { say "root is needed to install them: apt-get install ${missing[*]} ${lacking[*]}" && exit 2; }
    as_root=(sudo)
  fi
  if ! $assume_yes && [ -t 0 ] && [ -t 2 ]; then
    read -r -p "setup: install them with apt-get now? [Y/n] " answer
    case "$answer" in [nN]*) say "nothing installed; install them yourself and run this again" && exit 2 ;; esac
  fi
  log=$(mktemp)
  trap 'rm -f "$log"' EXIT
  install() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"; }
  updated=true
  "${as_root[@]}" apt-get update -q >"$log" 2>&1 || updated=false
  if [ ${#missing[@]} -gt 0 ] && { ! $updated || ! install "${missing[@]}" >"$log" 2>&1; }; then
    tail -n 20 "$log" >&2
    say "apt-get could not install them (its last lines are above)"
    exit 1
  fi
  [ ${#missing[@]} -eq 0 ] || say "installed: ${missing[*]}"
  for package in "${lacking[@]}"; do
    if $updated && install "$package" >"$log" 2>&1; then
      say "installed: $package"
    else
      say "$package could not be installed, what needs it will not run: $(tail -n 1 "$log")"
    fi
  done
fi

# node_modules is current when it was installed from exactly this lock file by this Node.js.
stamp="$(sha256sum package-lock.json | cut -d' ' -f1) $(node -p process.versions.modules)"
if [ "$(cat node_modules/.weft-setup 2>/dev/null)" != "$stamp" ]; then
  say "installing npm packages"
  npm ci --ignore-scripts --no-audit --no-fund --prefer-offline --loglevel=error >&2
  echo "$stamp" >node_modules/.weft-setup
fi
