# shellcheck shell=bash
# Starts and ends the cluster's daemons. Each has a name, a record of its process in $RUN/processes
# and a log in $LOGS. Must not know: what the daemons are.

daemon_record() {
  printf '%s/processes/%s\n' "$RUN" "$1"
}

daemon_pid() {
  process_of "$(daemon_record "$1")"
}

daemon_runs() {
  daemon_pid "$1" >/dev/null
}

# daemon_start NAME NAMESPACE-OPTION... -- COMMAND...: does nothing if it runs. The options are
# nsenter's; `ip netns exec` would hide the cgroups. The daemon gets none of our variables, and
# records itself before it becomes the daemon: the record is there even if we are killed. What it
# prints goes to $DAEMON_STDOUT, if that is set, instead of the log.
daemon_start() {
  local name=$1
  shift
  local -a namespaces=()
  while [[ $1 != -- ]]; do
    namespaces+=("$1")
    shift
  done
  shift

  ! daemon_runs "$name" || return 0
  mkdir -p "$RUN/processes" "$LOGS"
  rm -f "$(daemon_record "$name")"
  setsid --fork env -i PATH="$LIBEXEC:/usr/sbin:/usr/bin:/sbin:/bin" HOME="$STATE" \
    nsenter "${namespaces[@]}" -- "$CLUSTER_DIR/lib/become" "$(daemon_record "$name")" "$@" \
    </dev/null >>"${DAEMON_STDOUT:-$LOGS/$name.log}" 2>>"$LOGS/$name.log"
  wait_until 10 "process of $name" "$LOGS/$name.log" test -e "$(daemon_record "$name")"
}

# daemon_ready SECONDS NAME COMMAND...: waits until COMMAND succeeds; a daemon that ends is not
# waited for.
daemon_ready() {
  local seconds=$1 name=$2
  shift 2
  wait_until "$seconds" "answer from $name" "$LOGS/$name.log" daemon_answers "$name" "$@"
  daemon_runs "$name" || {
    tail -n 25 "$LOGS/$name.log" >&2
    die "$name ended at once"
  }
}

daemon_answers() {
  local name=$1
  shift
  ! daemon_runs "$name" || "$@"
}

# daemons_stop NAME...: asks, and after 10 s insists.
daemons_stop() {
  local -a records=()
  local name
  for name; do
    records+=("$(daemon_record "$name")")
  done
  processes_end TERM 10 "${records[@]}" || daemons_kill "$@"
}

daemons_kill() {
  local -a records=()
  local name
  for name; do
    records+=("$(daemon_record "$name")")
  done
  processes_end KILL 10 "${records[@]}" || die "cannot kill: $*"
}

# daemon_names: of all that were started, running or not.
daemon_names() {
  local record
  for record in "$RUN/processes/"*; do
    [[ ! -f $record || $record == *.new ]] || basename "$record"
  done
}
