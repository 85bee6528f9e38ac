# shellcheck shell=bash
# Writes images by hand into an OCI image layout, in either of the two formats that registries hold:
# OCI, and Docker's schema 2. Sourced, for bash with `set -e` and `inherit_errexit`. Needs jq.
#
# The same files give the same bytes: entries are sorted, owned by root, and dated SOURCE_DATE_EPOCH.
# Of extended attributes only file capabilities are kept, which programs need in place of a setuid bit.
# Functions that add something print its descriptor.

declare -A media_types=(
  [oci.layer]=application/vnd.oci.image.layer.v1.tar+gzip
  [oci.config]=application/vnd.oci.image.config.v1+json
  [oci.manifest]=application/vnd.oci.image.manifest.v1+json
  [oci.index]=application/vnd.oci.image.index.v1+json
  [docker.layer]=application/vnd.docker.image.rootfs.diff.tar.gzip
  [docker.config]=application/vnd.docker.container.image.v1+json
  [docker.manifest]=application/vnd.docker.distribution.manifest.v2+json
  [docker.index]=application/vnd.docker.distribution.manifest.list.v2+json
)

# blob_path LAYOUT DIGEST
blob_path() {
  echo "$1/blobs/${2/://}"
}

# create_layout LAYOUT: an empty one.
create_layout() {
  mkdir -p "$1/blobs/sha256"
  echo '{"imageLayoutVersion":"1.0.0"}' >"$1/oci-layout"
  echo '{"schemaVersion":2,"manifests":[]}' >"$1/index.json"
}

# add_document LAYOUT MEDIA_TYPE: the JSON on standard input as a blob.
add_document() {
  local layout=$1 media_type=$2 document digest
  document=$(jq --compact-output .)
  digest=sha256:$(printf %s "$document" | sha256sum | cut -d' ' -f1)
  printf %s "$document" >"$(blob_path "$layout" "$digest")"
  jq --null-input --compact-output --arg type "$media_type" --arg digest "$digest" --arg document "$document" \
    '{mediaType: $type, digest: $digest, size: ($document | utf8bytelength)}'
}

# make_layer DIRECTORY LAYER: packs DIRECTORY into the directory LAYER, as `blob` and its `layer.json`.
make_layer() {
  local directory=$1 layer=$2 epoch=${SOURCE_DATE_EPOCH:-0} digest diff_id size
  tar --create --file="$layer/tar" --directory="$directory" --sort=name --format=posix \
    --xattrs --xattrs-include=security.capability \
    --pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime \
    --owner=0 --group=0 --numeric-owner --mtime="@$epoch" .
  diff_id=sha256:$(sha256sum <"$layer/tar" | cut -d' ' -f1)
  gzip --no-name <"$layer/tar" >"$layer/blob"
  rm "$layer/tar"
  digest=sha256:$(sha256sum <"$layer/blob" | cut -d' ' -f1)
  size=$(stat --format=%s "$layer/blob")
  jq --null-input --arg digest "$digest" --arg diff_id "$diff_id" --argjson size "$size" \
    '{digest: $digest, size: $size, diffId: $diff_id}' >"$layer/layer.json"
}

# add_image LAYOUT FORMAT CONFIG LAYER…: CONFIG is the image configuration without its root filesystem,
# each LAYER a directory that make_layer filled.
add_image() {
  local layout=$1 format=$2 config=$3 layer digest descriptor layers
  shift 3
  for layer; do
    digest=$(jq --raw-output .digest "$layer/layer.json")
    cp "$layer/blob" "$(blob_path "$layout" "$digest")"
  done
  layers=$(cat "${@/%//layer.json}" | jq --slurp --compact-output .)
  descriptor=$(jq --null-input --argjson config "$config" --argjson layers "$layers" \
    '$config + {rootfs: {type: "layers", diff_ids: [$layers[].diffId]}}' |
    add_document "$layout" "${media_types[$format.config]}")
  jq --null-input --arg type "${media_types[$format.manifest]}" --argjson config "$descriptor" \
    --arg layer_type "${media_types[$format.layer]}" --argjson layers "$layers" \
    '{schemaVersion: 2, mediaType: $type, config: $config,
      layers: [$layers[] | {mediaType: $layer_type, digest, size}]}' |
    add_document "$layout" "${media_types[$format.manifest]}"
}

# add_index LAYOUT FORMAT: of the descriptors, with their platforms, on standard input.
add_index() {
  local layout=$1 format=$2
  jq --slurp --arg type "${media_types[$format.index]}" \
    '{schemaVersion: 2, mediaType: $type, manifests: .}' |
    add_document "$layout" "${media_types[$format.index]}"
}

# name_image LAYOUT NAME DESCRIPTOR
name_image() {
  local layout=$1 name=$2 descriptor=$3 index
  index=$(jq --arg name "$name" --argjson descriptor "$descriptor" \
    '.manifests += [$descriptor + {annotations: {"org.opencontainers.image.ref.name": $name}}]' "$layout/index.json")
  echo "$index" >"$layout/index.json"
}
