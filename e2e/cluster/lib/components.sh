# shellcheck shell=bash
# Builds the Go modules in ../components, each once per machine. A built component is a folder in
# the cache whose name holds the hash of all that went in; it is complete or absent.
# Must not know: what the components do.

COMPONENTS=$CLUSTER_DIR/components
BUILD_FLAGS=(-buildvcs=false -trimpath)
LINK_FLAGS='-s -w'

# component_names: those that the cluster consists of; the others are built when they are named.
component_names() {
  local directory name
  local title takes packages binary cgo tags ldflags commands on_demand
  for directory in "$COMPONENTS"/*/; do
    name=$(basename "$directory")
    component_settings "$name"
    [[ $on_demand ]] || printf '%s\n' "$name"
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
    flock --timeout 3600 "$lock" || die "the other build of $name has not ended within an hour"
  fi
  [[ ! -d $path ]] || exit 0
  # With the lock held, these are the remains of builds that were killed.
  rm -rf "$COMPONENT_CACHE/$name.new."*
  new=$(mktemp -d "$COMPONENT_CACHE/$name.new.XXXXXX")
  component_compile "$name" "$new"
  chmod 0755 "$new"
  mv -T "$new" "$path"
)

# component_settings NAME: sets what build.conf may set; a caller makes these variables local.
component_settings() {
  title=$1 takes='' packages=. binary='' cgo=0 tags='' ldflags='' commands=() on_demand=''
  # shellcheck source=/dev/null
  source "$COMPONENTS/$1/build.conf"
}

# component_compile NAME DIRECTORY
component_compile() {
  local name=$1 directory=$2
  local title takes packages binary cgo tags ldflags commands on_demand
  component_settings "$name"
  say "building $title (about $takes on 2 cores, once per machine)"
  env --chdir="$COMPONENTS/$name" GOWORK=off GOFLAGS=-mod=readonly CGO_ENABLED="$cgo" \
    go build "${BUILD_FLAGS[@]}" -tags "$tags" -ldflags "$LINK_FLAGS ${ldflags//$'\n'/ }" \
    -o "$directory/$binary" "$packages" >"$directory/build.log" 2>&1 || {
    tail -n 40 "$directory/build.log" >&2
    die "cannot build $title"
  }
  rm "$directory/build.log"
}

# components_build [NAME...]: those of the cluster, if none is named.
components_build() {
  local name
  command -v go >/dev/null || die "building needs Go, as go.mod in $COMPONENTS asks for"
  if (($# == 0)); then
    local -a names
    mapfile -t names < <(component_names)
    set -- "${names[@]}"
  fi
  for name; do
    [[ -d $COMPONENTS/$name ]] || die "there is no component $name"
    component_build "$name"
  done
}

# components_link: all programs into $LIBEXEC, and those that people call into $BIN.
components_link() {
  local name path program
  local title takes packages binary cgo tags ldflags commands on_demand
  mkdir -p "$LIBEXEC" "$BIN"
  for name in $(component_names); do
    path=$(component_path "$name")
    ln -sfn "$path"/* "$LIBEXEC/"
    component_settings "$name"
    for program in "${commands[@]}"; do
      ln -sfn "$path/${binary:-$program}" "$BIN/$program"
    done
  done
}
