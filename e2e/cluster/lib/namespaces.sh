# shellcheck shell=bash
# The cluster's network and mount namespaces, kept as files in $RUN/ns: not in /run/netns, which
# `ip netns` would leave behind. Must not know: what runs in them.

is_namespace() {
  [[ $(stat --file-system --format=%T "$1" 2>/dev/null) == nsfs ]]
}

# A file can hold a mount namespace only on a mount that is not shared.
namespaces_prepare() {
  mkdir -p "$RUN/ns"
  mountpoint -q "$RUN/ns" || mount -t tmpfs -o mode=0700 transship "$RUN/ns"
  mount --make-private "$RUN/ns"
}

# namespaces_drop: those of all nodes at once. They end with the last process in them.
namespaces_drop() {
  ! mountpoint -q "$RUN/ns" || umount --recursive --lazy "$RUN/ns"
}

# shellcheck disable=SC2153 # names.sh sets NETNS
in_netns() {
  nsenter --net="$NETNS" -- "$@"
}

# netns_of NODE: node 1 shares the network of the control plane and the registries.
netns_of() {
  if [[ $1 == node1 ]]; then
    printf '%s\n' "$NETNS"
  else
    printf '%s/ns/%s.net\n' "$RUN" "$1"
  fi
}

netns_create() {
  if ! is_namespace "$1"; then
    touch "$1"
    unshare --net="$1" true
  fi
  nsenter --net="$1" -- ip link set lo up
}

# The node LAN is a bridge with no way out of the namespace.
lan_up() {
  netns_create "$NETNS"
  in_netns ip link show lan0 &>/dev/null || in_netns ip link add lan0 type bridge
  in_netns ip address replace "$CONTROL_PLANE/24" dev lan0
  in_netns ip link set lan0 up
  # kube-proxy answers for service addresses, but only after a route was found for them.
  in_netns ip route replace default dev lan0
  netns_forwards "$NETNS"
}

# lan_join NUMBER: a cable from a node's own network namespace to the LAN.
lan_join() {
  local number=$1 netns
  netns=$(netns_of "node$number")
  netns_create "$netns"
  in_netns ip link show "node$number" &>/dev/null ||
    in_netns ip link add "node$number" type veth peer name eth0 netns "$netns"
  in_netns ip link set "node$number" master lan0 up
  nsenter --net="$netns" -- ip address replace "$LAN.$number/24" dev eth0
  nsenter --net="$netns" -- ip link set eth0 up
  nsenter --net="$netns" -- ip route replace default via "$CONTROL_PLANE"
  netns_forwards "$netns"
}

# lan_routes: each node knows the way to the pods of the others.
lan_routes() {
  local count=$1 from to
  for ((from = 1; from <= count; from++)); do
    for ((to = 1; to <= count; to++)); do
      ((from == to)) || ! is_namespace "$(netns_of "node$from")" ||
        nsenter --net="$(netns_of "node$from")" -- \
          ip route replace "$PODS.$to.0/24" via "$LAN.$to"
    done
  done
}

# netns_forwards: packets between pods and services pass the rules of kube-proxy, also on a bridge.
netns_forwards() {
  [[ -d /proc/sys/net/bridge ]] || modprobe br_netfilter
  nsenter --net="$1" -- sysctl -qw net.ipv4.ip_forward=1 net.bridge.bridge-nf-call-iptables=1
}

# mount_namespace_create FILE DIRECTORY: all that a node mounts stays in here and ends with it. It
# has a /run of its own, which holds nothing but $RUN, and DIRECTORY/log for a /var/log.
mount_namespace_create() {
  local file=$1 directory=$2
  if is_namespace "$file"; then
    ! nsenter --mount="$file" -- test -e "/run/transship-ready" || return 0
    umount "$file" # killed half-way
  fi
  mkdir -p "$directory/run" "$directory/log"
  touch "$file"
  # shellcheck disable=SC2016 # the inner shell's variables
  unshare --mount="$file" --propagation slave -- bash -euc '
    directory=$1 run=$2
    mount -t tmpfs -o mode=0755 run "$directory/run"
    mkdir "$directory$run"
    mount --bind "$run" "$directory$run"
    mount --no-mtab --move "$directory/run" /run
    mount --bind "$directory/log" /var/log
    mount --make-rshared /
    touch /run/transship-ready
  ' - "$directory" "$RUN"
}
