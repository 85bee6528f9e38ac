# shellcheck shell=bash
# Makes the probe image: one layer with one static program. Must not know: nodes and registries.

# probe_archive: prints the path of an OCI archive of the image, made once for each program. Equal
# programs make equal archives.
probe_archive() {
  local path archive
  path=$(component_path probe)
  archive=$STATE/${path##*/}.tar
  [[ -f $archive ]] || image_archive "$path/probe" "$PROBE_IMAGE" "$archive"
  printf '%s\n' "$archive"
}

# image_archive PROGRAM REFERENCE ARCHIVE
image_archive() (
  local program=$1 reference=$2 archive=$3 layout layer config manifest
  layout=$(mktemp -d "$STATE/image.XXXXXX")
  trap 'rm -rf "$layout"' EXIT
  mkdir -p "$layout/blobs/sha256"

  reproducible_tar --directory "$(dirname "$program")" "$(basename "$program")" >"$layout/layer"
  layer=$(blob_add "$layout" "$layout/layer" application/vnd.oci.image.layer.v1.tar)
  jq --null-input --compact-output --arg program "/$(basename "$program")" \
    --arg architecture "$(go env GOARCH)" --argjson layer "$layer" '{
    architecture: $architecture, os: "linux",
    config: {User: "65532:65532", Entrypoint: [$program], Cmd: ["pause"]},
    rootfs: {type: "layers", diff_ids: [$layer.digest]}
  }' >"$layout/config"
  config=$(blob_add "$layout" "$layout/config" application/vnd.oci.image.config.v1+json)
  jq --null-input --compact-output --argjson config "$config" --argjson layer "$layer" '{
    schemaVersion: 2, mediaType: "application/vnd.oci.image.manifest.v1+json",
    config: $config, layers: [$layer]
  }' >"$layout/manifest"
  manifest=$(blob_add "$layout" "$layout/manifest" application/vnd.oci.image.manifest.v1+json)
  jq --compact-output --arg reference "$reference" '{
    schemaVersion: 2,
    manifests: [. + {annotations: {"io.containerd.image.name": $reference}}]
  }' <<<"$manifest" >"$layout/index.json"
  printf '{"imageLayoutVersion":"1.0.0"}' >"$layout/oci-layout"
  reproducible_tar --directory "$layout" oci-layout index.json blobs >"$archive.new"
  mv "$archive.new" "$archive"
)

# blob_add LAYOUT FILE MEDIA-TYPE: moves FILE into the layout and prints its descriptor.
blob_add() {
  local layout=$1 file=$2 media_type=$3 digest size
  digest=$(sha256sum "$file" | cut -d' ' -f1)
  size=$(stat --format=%s "$file")
  mv "$file" "$layout/blobs/sha256/$digest"
  jq --null-input --compact-output --arg type "$media_type" --arg digest "sha256:$digest" \
    --argjson size "$size" '{mediaType: $type, digest: $digest, size: $size}'
}

reproducible_tar() {
  tar --create --format=ustar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner "$@"
}
