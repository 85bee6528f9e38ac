# shellcheck shell=sh
# Builds an image and writes it as an OCI image layout.
#
#   build ARGUMENT…   arguments of `buildah build`

# Its own settings, whatever the image has: a program for FUSE could not be used, and in a user namespace
# of 65,536 ids Buildah looks for the directory of rootless users.
cat >/tmp/storage.conf <<STORAGE
[storage]
driver = "overlay"
runroot = "/transship/state/run"
graphroot = "/transship/state/graph"
rootless_storage_path = "/transship/state/graph"
STORAGE
printf '%s' "$REGISTRIES_CONFIG" >/tmp/registries.conf
export CONTAINERS_STORAGE_CONF=/tmp/storage.conf CONTAINERS_REGISTRIES_CONF=/tmp/registries.conf

# An additional build context does not replace what FROM names by an argument, and registries.conf no single tag.
if [ -s "$BASE_IMAGES_FILE" ]; then
  while read -r name _ place; do
    buildah pull --quiet "--platform=$PLATFORM" "$place" </dev/null || exit
    buildah tag "$place" "$name" || exit
  done <"$BASE_IMAGES_FILE"
  set -- --pull=never "$@"
fi
# The pod was made before the commit was read.
if [ -s "$SOURCE_DATE_EPOCH_FILE" ]; then
  set -- "--timestamp=$(cat "$SOURCE_DATE_EPOCH_FILE")" "$@"
fi
buildah build --tag=localhost/build:latest "$@" || exit
exec buildah push localhost/build:latest oci:/transship/output/layout:latest
