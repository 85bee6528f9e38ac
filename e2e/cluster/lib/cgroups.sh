# shellcheck shell=bash
# One cgroup /$ID/NODE in every hierarchy, for the pods of a node. Only folders of our own: no
# controller is switched. Must not know: what pods are.

# The roots of all hierarchies: one for each controller (version 1), or a single one (version 2).
cgroup_roots() {
  local root
  if [[ -f /sys/fs/cgroup/cgroup.procs ]]; then
    printf '/sys/fs/cgroup\n'
    return
  fi
  for root in /sys/fs/cgroup/*; do
    [[ ! -f $root/cgroup.procs || -L $root ]] || printf '%s\n' "$root"
  done
}

cgroup_create() {
  local node=$1 root directory file
  while read -r root; do
    for directory in "$root/$ID" "$root/$ID/$node"; do
      [[ -d $directory ]] || mkdir "$directory"
      # A new cpuset is empty and admits no process.
      for file in cpuset.cpus cpuset.mems; do
        [[ ! -f $root/$file ]] || cat "$root/$file" >"$directory/$file"
      done
    done
  done < <(cgroup_roots)
}

# cgroup_folders PATH: deepest first.
cgroup_folders() {
  local root
  while read -r root; do
    [[ ! -d $root/$1 ]] || find "$root/$1" -depth -type d
  done < <(cgroup_roots)
}

# cgroup_processes PATH: without the zombies, which nobody can end.
cgroup_processes() {
  local folder pid
  while read -r folder; do
    cat "$folder/cgroup.procs" 2>/dev/null || true
  done < <(cgroup_folders "$1") | sort -un | while read -r pid; do
    ! start_time "$pid" >/dev/null || printf '%s\n' "$pid"
  done
}

# cgroup_remove PATH: a process leaves its cgroup some time after it was killed.
cgroup_remove() {
  local folder deadline=$((SECONDS + 10))
  while [[ -n $(cgroup_folders "$1") ]]; do
    while read -r folder; do
      rmdir "$folder" 2>/dev/null || true
    done < <(cgroup_folders "$1")
    ((SECONDS < deadline)) || return 1
  done
}
