# shellcheck shell=bash
# Builds the Go modules in ../components, each once per machine. A built component is a folder in
# the cache whose name holds the hash of all that went in; it is complete or absent.
# Must not know: what the components do.

COMPONENTS=$CLUSTER_DIR/components
BUILD_FLAGS=(-buildvcs=false -trimpath)
LINK_FLAGS='-s -w'

component_names() {
  local directory
  for directory in "$COMPONENTS"/*/; do
    basename "$directory"
  done
}

# component_path NAME: where the built component is, or would be.
component_path() (
  cd "$COMPONENTS/$1" || exit
  local hash
  hash=$({
    go version
    printf '%s\n' "${BUILD_FLAGS[@]}" "$LINK_FLAGS"
    find . -type f | LC_ALL=C sort | xargs sha256sum
  } | sha256sum | cut -c1-16)
  printf '%s/%s-%s\n' "$COMPONENT_CACHE" "$1" "$hash"
)

# component_build NAME: a subshell, for it holds a lock and reads variables.
component_build() (
  local name=$1 path new
  path=$(component_path "$name")
  [[ ! -d $path ]] || exit 0

  mkdir -p "$COMPONENT_CACHE"
  exec {lock}>"$COMPONENT_CACHE/$name.lock"
  if ! flock --nonblock "$lock"; then
    say "another process builds $name: waiting for it"
    flock "$lock"
  fi
  [[ ! -d $path ]] || exit 0
  # With the lock held, these are the remains of builds that were killed.
  rm -rf "$COMPONENT_CACHE/$name.new."*
  new=$(mktemp -d "$COMPONENT_CACHE/$name.new.XXXXXX")
  component_compile "$name" "$new"
  chmod 0755 "$new"
  mv -T "$new" "$path"
)

# component_compile NAME DIRECTORY: by the component's build.conf.
component_compile() {
  local name=$1 directory=$2
  local title takes packages binary='' cgo=0 tags='' ldflags=''
  local -a links=()
  # shellcheck source=/dev/null
  source "$COMPONENTS/$name/build.conf"
  say "building $title (about $takes on 2 cores, once per machine)"
  env --chdir="$COMPONENTS/$name" GOWORK=off GOFLAGS=-mod=readonly CGO_ENABLED="$cgo" \
    go build "${BUILD_FLAGS[@]}" -tags "$tags" -ldflags "$LINK_FLAGS ${ldflags//$'\n'/ }" \
    -o "$directory/$binary" "$packages" >"$directory/build.log" 2>&1 || {
    tail -n 40 "$directory/build.log" >&2
    die "cannot build $title"
  }
  rm "$directory/build.log"
  local link
  for link in "${links[@]}"; do
    ln -s "$binary" "$directory/$link"
  done
}

components_build() {
  local name
  for name in "${@:-}"; do
    [[ -n $name ]] || continue
    [[ -d $COMPONENTS/$name ]] || die "there is no component $name"
  done
  if (($# == 0)); then
    mapfile -t names < <(component_names)
    set -- "${names[@]}"
  fi
  for name; do
    component_build "$name"
  done
}

# components_link DIRECTORY: makes the programs of all components callable from DIRECTORY.
components_link() {
  local directory=$1 name program
  mkdir -p "$directory"
  for name in $(component_names); do
    for program in "$(component_path "$name")"/*; do
      ln -sfn "$program" "$directory/"
    done
  done
}
