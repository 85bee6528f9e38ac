# shellcheck shell=bash
# Progress, errors and bounded waits. Must not know: the cluster's parts.

# Progress goes to stderr, with the seconds since the command started; stdout is for data.
say() {
  local now=${EPOCHREALTIME/[.,]/}
  printf '%6d.%ds  %s\n' $(((now - STARTED) / 1000000)) $(((now - STARTED) / 100000 % 10)) "$*" >&2
}
STARTED=${EPOCHREALTIME/[.,]/}

die() {
  printf 'cluster: %s\n' "$*" >&2
  exit 1
}

# wait_until SECONDS WHAT LOG COMMAND...: runs COMMAND until it succeeds; after SECONDS shows the
# end of LOG and ends the program.
wait_until() {
  local seconds=$1 what=$2 log=$3
  shift 3
  local deadline=$((SECONDS + seconds))
  until "$@" >/dev/null 2>&1; do
    if ((SECONDS >= deadline)); then
      if [[ -s $log ]]; then
        printf -- '--- the end of %s\n' "$log" >&2
        tail -n 25 "$log" >&2
      fi
      die "after $seconds s there is still no $what"
    fi
    sleep 0.1
  done
}

# write FILE MODE: replaces FILE by standard input, never leaving half of it.
write() {
  local file=$1 mode=$2
  install -m "$mode" /dev/stdin "$file.new"
  mv "$file.new" "$file"
}

# quietly COMMAND...: shows what it printed only if it fails.
quietly() {
  local output
  output=$("$@" 2>&1 </dev/null) || {
    printf '%s\n' "$output" >&2
    die "failed: $*"
  }
}
