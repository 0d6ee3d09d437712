#!/usr/bin/env bash
# `npm run image`: weft's container image without a registry and without Docker: an archive, in the format of `docker save`, of what this
# checkout builds, for this machine's architecture. deploy/Dockerfile makes the same image where there is a builder.
#   deploy/image.sh [--output FILE] [--tag NAME]
# --output  weft-image.tar by default. K3s imports it at its start from /var/lib/rancher/k3s/agent/images/, or at once by
#           `k3s ctr images import FILE`; `docker load` and `podman load` take it as well.
# --tag     weft:VERSION by default, which deploy/weft.yaml names
set -euo pipefail
caller=${INIT_CWD:-$PWD}
cd "$(dirname "$0")/.."

version=$(node -p 'require("./package.json").version')
output=weft-image.tar tag=weft:$version
while [ $# -gt 0 ]; do
  case "$1" in
    --output) output=${2:?--output needs a file} && shift ;;
    --tag) tag=${2:?--tag needs a name} && shift ;;
    *) echo "image: unknown argument '$1' (known: --output FILE, --tag NAME)" >&2 && exit 2 ;;
  esac
  shift
done
case "$output" in /*) ;; *) output=$caller/$output ;; esac

bash deploy/setup.sh --yes --for image >&2
bash deploy/build.sh >&2
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
bash deploy/collect.sh "$scratch/root"
# The same files make the same image: names in order, no times, no owners.
pack() { tar --create --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --directory "$1" --file "$2" "${@:3}"; }
mkdir "$scratch/archive"
pack "$scratch/root" "$scratch/archive/layer.tar" .
digest=$(sha256sum "$scratch/archive/layer.tar" | cut -d ' ' -f 1)
DIGEST=$digest TAG=$tag VERSION=$version node >"$scratch/archive/config.json" <<'END'
const { DIGEST, VERSION } = process.env;
const architecture = { x64: 'amd64' }[process.arch] ?? process.arch;
const Labels = {
  'org.opencontainers.image.title': 'weft',
  'org.opencontainers.image.version': VERSION,
  'org.opencontainers.image.licenses': 'Apache-2.0',
};
const config = { Env: ['PATH=/usr/bin:/usr/sbin', 'NODE_ENV=production'], Cmd: ['weft', '--help'], WorkingDir: '/', Labels };
const rootfs = { type: 'layers', diff_ids: [`sha256:${DIGEST}`] };
console.log(JSON.stringify({ architecture, os: 'linux', config, rootfs, history: [{ created_by: 'deploy/image.sh' }] }));
END
TAG=$tag node -p 'JSON.stringify([{ Config: "config.json", RepoTags: [process.env.TAG], Layers: ["layer.tar"] }])' >"$scratch/archive/manifest.json"
mkdir -p "$(dirname "$output")"
pack "$scratch/archive" "$output.part" manifest.json config.json layer.tar
mv -f "$output.part" "$output"
echo "image: $output ($(du -h --apparent-size "$output" | cut -f 1)) is $tag"
