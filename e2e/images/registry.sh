# shellcheck shell=bash
# Pushes images of an OCI image layout into a registry of the tests, over plain HTTP and without
# credentials; sourced, for bash with `set -e` and `inherit_errexit`. Needs curl, jq and layout.sh.
#
# By hand, since every byte and media type has to arrive as it is, in Docker's format as well; and by
# no code of the operator, which is what the images are there to test.

# The test registries are beside us, never behind a proxy.
http() {
  curl --silent --show-error --fail --noproxy '*' --connect-timeout 5 --max-time 120 "$@"
}

# push_blob LAYOUT DIGEST REPOSITORY_URL: unless it is there.
push_blob() {
  local layout=$1 digest=$2 repository=$3 location
  if http --head --output /dev/null "$repository/blobs/$digest" 2>/dev/null; then
    return
  fi
  location=$(http --request POST --data '' --output /dev/null --write-out '%header{location}' "$repository/blobs/uploads/")
  [[ $location == http* ]] || location=${repository%%/v2/*}$location
  if [[ $location == *\?* ]]; then location+="&digest=$digest"; else location+="?digest=$digest"; fi
  http --header 'Content-Type: application/octet-stream' --upload-file "$(blob_path "$layout" "$digest")" "$location"
}

# push_descriptor LAYOUT DESCRIPTOR REPOSITORY_URL TAG|DIGEST: what the descriptor leads to, then itself.
push_descriptor() {
  local layout=$1 descriptor=$2 repository=$3 reference=$4 media_type digest document present child
  media_type=$(jq --raw-output .mediaType <<<"$descriptor")
  digest=$(jq --raw-output .digest <<<"$descriptor")
  present=$(http --head --header "Accept: $media_type" --output /dev/null --write-out '%header{docker-content-digest}' \
    "$repository/manifests/$reference" 2>/dev/null) || true
  if [[ $present == "$digest" ]]; then
    return
  fi
  document=$(blob_path "$layout" "$digest")
  while read -r child; do
    push_descriptor "$layout" "$child" "$repository" "$(jq --raw-output .digest <<<"$child")"
  done < <(jq --compact-output '.manifests[]?' "$document")
  while read -r child; do
    push_blob "$layout" "$child" "$repository"
  done < <(jq --raw-output '.config.digest // empty, .layers[]?.digest' "$document")
  http --request PUT --header "Content-Type: $media_type" --data-binary "@$document" "$repository/manifests/$reference"
}
