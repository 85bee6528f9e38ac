# shellcheck shell=bash
# Brings the whole cluster up and down. Every step first looks whether it is done already: so a
# second `up` only verifies, and one that was killed is finished by the next.
# Must not know: how the parts work.

# One at a time. The lock is on this folder, so that no file is left over; what we start inherits
# file descriptor 9, and a daemon closes it once it is recorded (see `become`).
cluster_lock() {
  exec 9<"$CLUSTER_DIR"
  if ! flock --nonblock 9; then
    say "another command changes this cluster: waiting for it"
    flock --timeout 600 9 || die "the other command has not ended within 10 minutes"
  fi
}

# A command may come from inside `enter`, where the mount namespaces of nodes are out of reach: back
# to where the cluster was made, and its control plane runs.
cluster_leave_entered() {
  local name pid
  cluster_require_root
  for name in $(daemon_names); do
    if [[ $name != node* ]] && pid=$(daemon_pid "$name"); then
      [[ /proc/self/ns/mnt -ef /proc/$pid/ns/mnt ]] ||
        exec nsenter --mount="/proc/$pid/ns/mnt" -- "$CLUSTER_DIR/cluster" "$@"
      return
    fi
  done
}

cluster_require_root() {
  ((EUID == 0)) || die "namespaces, mounts and cgroups need root"
}

cluster_require_running() {
  cluster_require_root
  is_namespace "$NETNS" || die "this checkout's cluster is not running: start it with \`$0 up\`"
}

# cluster_nodes: the number of nodes that `up` keeps running.
cluster_nodes() {
  cat "$STATE/nodes" 2>/dev/null || printf '1\n'
}

# nodes_started: the names of all nodes that ever were, also of those that were killed.
nodes_started() {
  local directory
  for directory in "$STATE"/node[0-9]/ "$RUN"/node[0-9]/; do
    [[ ! -d $directory ]] || basename "$directory"
  done | sort -u
}

cluster_up() {
  local count=$1 number
  cluster_require_root
  packages_install
  components_build
  cluster_lock
  count=${count:-$(cluster_nodes)}

  rm -rf --one-file-system "$STATE.old"
  mkdir -p "$STATE" "$RUN" "$LOGS" "$PKI" "$KUBECONFIGS"
  chmod 0700 "$PKI" "$KUBECONFIGS"
  write "$STATE/nodes" 0644 <<<"$count"
  write "$RESOLV_CONF" 0644 <<<"nameserver $CONTROL_PLANE"
  components_link
  control_plane_identities
  registries_identities

  namespaces_prepare
  lan_up
  for ((number = 2; number <= count; number++)); do
    lan_join "$number"
  done
  lan_routes "$count"
  for ((number = 1; number <= count; number++)); do
    node_prepare "node$number"
    node_containerd_start "node$number"
  done
  say "network, container runtimes: started"

  registries_up
  say "registries: ready"
  control_plane_up
  say "API server: ready"
  for ((number = 1; number <= count; number++)); do
    node_start "node$number"
  done
  for ((number = 1; number <= count; number++)); do
    node_ready "node$number"
    say "node$number: ready"
  done
  control_plane_ready
  say "service accounts, DNS: ready"
}

cluster_down() {
  local node
  local -a daemons
  cluster_require_root
  cluster_lock
  if [[ ! -e $STATE && ! -e $STATE.old && ! -e $RUN && -z $(cgroup_folders "$ID") ]]; then
    say "there is no cluster of this checkout"
    return
  fi
  for node in $(nodes_started); do
    node_kill "$node"
  done
  mapfile -t daemons < <(daemon_names)
  ((${#daemons[@]} == 0)) || daemons_kill "${daemons[@]}"
  namespaces_drop
  cgroup_remove "$ID" || die "processes that this cluster did not start are in its cgroups $ID"
  # The CNI library has only this folder for its notes.
  rm -f "/var/lib/cni/results/$ID-"*
  # In one step: half a state would be worse than none.
  rm -rf --one-file-system "$STATE.old"
  [[ ! -e $STATE ]] || mv "$STATE" "$STATE.old"
  rm -rf --one-file-system "$RUN" "$STATE.old"
  rmdir --ignore-fail-on-non-empty /var/lib/cni/results /var/lib/cni "$STATES" 2>/dev/null || true
  say "cluster and registries: gone"
}

node_require() {
  [[ -d $STATE/$1 && $1 == node[0-9] ]] ||
    die "there is no node ${1@Q}: one of $(nodes_started | tr '\n' ' ')"
}

cluster_node_kill() {
  cluster_require_running
  cluster_lock
  node_require "$1"
  node_kill "$1"
  say "$1: killed"
}

cluster_node_start() {
  local node=$1
  cluster_require_running
  cluster_lock
  node_require "$node"
  node_kill "$node"
  node_clear "$node"
  [[ $node == node1 ]] || lan_join "${node#node}"
  node_prepare "$node"
  node_containerd_start "$node"
  node_start "$node"
  node_ready "$node"
  say "$node: ready"
}

cluster_status() {
  local name process
  cluster_require_root
  printf '%-12s %s\n' cluster "$ID" state "$STATE" sockets "$RUN"
  if ! is_namespace "$NETNS"; then
    printf '%-12s not running\n' ''
    return 1
  fi
  for name in $(daemon_names); do
    process=$(daemon_pid "$name") || process="does not run; its log is $LOGS/$name.log"
    printf '%-28s %s\n' "$name" "$process"
  done
  kubectl get nodes
}
