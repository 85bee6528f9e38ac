# shellcheck shell=bash
# Which processes are ours: a process id counts only together with the start time recorded beside
# it, so that a reused id is never taken for ours. Must not know: what the processes do.

# start_time PID: in clock ticks since boot; fails for no process and for a zombie.
start_time() {
  local stat
  { stat=$(<"/proc/$1/stat"); } 2>/dev/null || return 1
  # After the command's name, which may hold anything: state is the first field, start the 20th.
  local -a fields
  read -ra fields <<<"${stat##*) }"
  [[ ${fields[0]} != [ZX] ]] || return 1
  printf '%s\n' "${fields[19]}"
}

# process_record FILE: the calling shell's own process, which keeps id and start time over exec.
process_record() {
  printf '%s %s\n' "$$" "$(start_time $$)" >"$1.new"
  mv "$1.new" "$1"
}

# process_of FILE: prints the recorded process's id if it still runs.
process_of() {
  local pid start
  { read -r pid start <"$1"; } 2>/dev/null || return 1
  [[ $(start_time "$pid") == "$start" ]] || return 1
  printf '%s\n' "$pid"
}

# processes_end SIGNAL SECONDS FILE...: fails if one still runs after SECONDS.
processes_end() {
  local signal=$1 deadline=$((SECONDS + $2)) file pid
  shift 2
  for file; do
    if pid=$(process_of "$file"); then
      kill "-$signal" "$pid" 2>/dev/null || true
    fi
  done
  for file; do
    while process_of "$file" >/dev/null; do
      ((SECONDS < deadline)) || return 1
      sleep 0.05
    done
    rm -f "$file"
  done
}
