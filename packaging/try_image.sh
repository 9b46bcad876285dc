#!/usr/bin/env bash
# Builds the image of the Dockerfile without a container engine, and runs one whole job in it. Needs root on Debian,
# and buildah, crun and mmdebstrap. All that it makes lies in one temporary folder, which is removed at the end.
#
# The base is a Debian with Python under the name that the Dockerfile asks for, since a registry need not be in reach.
# What this cannot show: limits of memory, published ports, the health check, and compose.yaml.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d "${TMPDIR:-/tmp}/hilum-image-XXXXXX")
log=$work/log
base=$(sed -nE 's/^FROM (\S+) AS build$/\1/p' Dockerfile)

buildah() { command nice buildah --root "$work/storage" --runroot "$work/run" "$@"; }
clean_up() {
  status=$?
  if [ $status != 0 ] && [ -s "$log" ]; then tail -n 40 "$log" >&2; fi
  buildah rm --all >/dev/null 2>&1 || true
  umount "$work/storage/overlay" 2>/dev/null || true
  rm -rf --one-file-system "$work"
}
trap clean_up EXIT
in_image() { buildah run --isolation chroot "$container" -- "$@"; }
# The image's own command, which `hilum check` finds as its destination, and which ends well when it is asked to.
served_and_checked='
  export HILUM__DICOM__ACCEPT_ANY_PEER=true
  export HILUM__DESTINATION="[{\"name\": \"itself\", \"ae_title\": \"HILUM\", \"host\": \"127.0.0.1\", \"port\": 11112}]"
  hilum serve 2>serve.log &
  for attempt in $(seq 30); do grep -q "\"ready to analyse\"" serve.log && break; sleep 2; done
  hilum check; checked=$?
  kill $! && wait $! && exit $checked'

echo "Making $base from Debian"
nice mmdebstrap --quiet --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$work/base.tar" >"$log" 2>&1
printf 'FROM scratch\nADD base.tar /\nRUN ln -s python3 /usr/bin/python\n' >"$work/Base"
buildah bud --isolation chroot --format docker --tag "docker.io/library/$base" --file "$work/Base" "$work" >"$log" 2>&1

# Certificates of this machine's way to the index, and torch where pip has it in a folder, are lent to the build alone.
lent=(--volume /etc/ssl/certs:/etc/ssl/certs:ro --volume /usr/share/ca-certificates:/usr/share/ca-certificates:ro)
wheel=$(compgen -G "${PIP_FIND_LINKS:-/nowhere}/torch-*.whl" | head -n 1 || true)
if [ -n "$wheel" ]; then
  lent+=(--volume "$(dirname "$wheel"):/wheels:ro" --build-arg TORCH_WHEELS=/wheels)
fi
echo "Building the image (about three minutes)"
buildah bud --isolation chroot --format docker --pull-never "${lent[@]}" --tag hilum . >"$log" 2>&1

container=$(buildah from --pull-never hilum)
echo "Running the image as user $(in_image id -u)"
[ "$(in_image id -u)" = 10001 ]
in_image sh -c "$served_and_checked"
in_image hilum demo --keep /var/lib/hilum/demo </dev/null
in_image hilum audit verify --config /var/lib/hilum/demo/hilum.toml
echo "The image was built, and did one whole job."
