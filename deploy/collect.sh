#!/usr/bin/env bash
# Collects the file system of weft's image from a built checkout and the programs of this machine: deploy/Dockerfile runs it in its build
# stage, deploy/image.sh on a machine without a registry. Nothing but what is named here comes into the image, with the libraries it
# is linked with; no package manager, no npm, no compiler.
#   deploy/collect.sh FOLDER
# FOLDER must not exist yet. Where the programs come from: deploy/setup.sh --for image.
set -euo pipefail
cd "$(dirname "$0")/.."
to=${1:?usage: deploy/collect.sh FOLDER}
mkdir -p "$(dirname "$to")" && mkdir "$to"
umask 022

# node: agent, switch, commands. nft: the host's table. conntrack: host ports of UDP. iptables: what `weft doctor` finds of others.
# ip and nsenter: interfaces of pods, for `weft uninstall`. busybox: sh and what deploy/preflight.sh calls. (Its own nsenter would start its
# own ip.)
programs=(node nft conntrack iptables-nft iptables-legacy ip nsenter busybox)
applets=(sh awk cat cut date grep head id ls ps sed sleep sort tail test tr uniq)

mkdir -p "$to"/usr/{bin,sbin,lib,lib64} "$to"/{dev,proc,sys,run,tmp,etc,host,var}
for folder in bin sbin lib lib64; do ln -s "usr/$folder" "$to/$folder"; done
ln -s ../run "$to/var/run"

# place FILE: copies it to where it is here, below /usr on machines where /lib still is a folder of its own.
place() {
  local path=${1#/}
  path=usr/${path#usr/}
  mkdir -p "$to/$(dirname "$path")"
  cp -L "$1" "$to/$path"
}
# A package's terms go with its files.
terms() {
  local package
  package=$(dpkg-query -S "$1" 2>/dev/null | sed -n '1s/[:,].*//p') || true
  [ -z "$package" ] || [ ! -f "/usr/share/doc/$package/copyright" ] || place "/usr/share/doc/$package/copyright"
}
# libraries FILE…: those that it is linked with, and the loader.
libraries() {
  local library
  for library in $(ldd "$@" 2>/dev/null | sed -nE 's/^[[:space:]]+(.* => )?(\/[^ ]+) \(0x.*/\2/p' | sort -u); do
    place "$library"
    terms "$(readlink -f "$library")"
  done
}

PATH=$PATH:/usr/sbin:/sbin
for program in "${programs[@]}"; do
  found=$(command -v "$program") || { echo "collect: there is no program $program (deploy/setup.sh --for image)" >&2 && exit 1; }
  [ "$program" != node ] || found=$(node -p process.execPath)
  found=$(readlink -f "$found")
  case "$program" in
    node | nsenter | busybox) cp -L "$found" "$to/usr/bin/$program" ;;
    *) cp -L "$found" "$to/usr/sbin/$(basename "$found")" ;;
  esac
  libraries "$found"
  terms "$found"
done
# Its symbols are a tenth of the image.
strip --strip-unneeded "$to/usr/bin/node"
for name in iptables-save ip6tables-save; do ln -s xtables-nft-multi "$to/usr/sbin/$name"; done
for name in iptables-legacy ip6tables-legacy iptables-legacy-save ip6tables-legacy-save; do ln -s xtables-legacy-multi "$to/usr/sbin/$name"; done
# Without its plugins iptables-save cannot show what rules of others match.
plugins=$(dirname "$(ldd "$(readlink -f "$(command -v iptables-nft)")" | sed -nE 's/.* => (\/.*libxtables[^ ]*) .*/\1/p')")/xtables
[ -d "$plugins" ] || plugins=/usr/${plugins#/}
for plugin in "$plugins"/*.so; do place "$plugin"; done
for applet in "${applets[@]}"; do ln -s busybox "$to/usr/bin/$applet"; done
libraries build/Release/weft.node

mkdir -p "$to"/weft/{build/Release,deploy}
cp -r build/bin "$to/weft/build/bin"
cp -L build/Release/weft.node "$to/weft/build/Release/weft.node"
strip --strip-unneeded "$to/weft/build/Release/weft.node"
cp package.json binding.gyp LICENSE "$to/weft/"
cp deploy/preflight.sh deploy/node-flags "$to/weft/deploy/"
# Types and source maps are of use to nobody there, nor is what the addon was compiled with.
leave=(--exclude='*.map' --exclude='*.d.ts' --exclude='*.d.mts' --exclude='*.d.cts' --exclude=node_modules/node-addon-api)
mapfile -t packages < <(npm ls --omit=dev --all --parseable 2>/dev/null | sed -n "s|^$PWD/||p" | sort)
[ ${#packages[@]} -gt 0 ] || { echo 'collect: npm does not list the packages of node_modules/ (npm run setup)' >&2 && exit 1; }
tar --create "${leave[@]}" dist/src "${packages[@]}" | tar --extract --directory "$to/weft"

# `weft`, as people and `weft relay` call it in a pod: what deploy/weft.sh does, without its checkout and without bash.
cat >"$to/usr/bin/weft" <<'END'
#!/bin/sh
case "${1:-}" in agent | switch) flags=$(grep -- '^--' /weft/deploy/node-flags) ;; *) flags= ;; esac
# shellcheck disable=SC2086
exec node $flags /weft/dist/src/cli/main.js "$@"
END
chmod 755 "$to/usr/bin/weft"
