# shellcheck shell=bash
# Where the images are kept that are slow to make; sourced, for bash with `set -e` and
# `inherit_errexit`.

# Outside the checkout, so that every work tree shares it.
image_cache() {
  echo "${TRANSSHIP_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/transship}/images"
}

# cache_key FILE…: changes when the files do.
cache_key() {
  cat "$@" | sha256sum | cut -c1-16
}

# make_once DIRECTORY COMMAND…: has COMMAND fill the directory that it gets as its last argument, and
# gives it the name DIRECTORY; does nothing when that is there. Safe to call from several processes.
make_once() {
  local directory=$1 unfinished=$1.unfinished lock
  shift
  mkdir -p "$(dirname "$directory")"
  exec {lock}>"$directory.lock"
  flock "$lock"
  if [[ ! -d $directory ]]; then
    rm -rf "$unfinished"
    mkdir "$unfinished"
    "$@" "$unfinished"
    mv "$unfinished" "$directory"
  fi
  exec {lock}>&-
}
