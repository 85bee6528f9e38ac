# shellcheck shell=bash
# One node: containerd, kubelet and kube-proxy in the node's namespaces and cgroup.
# Must not know: what runs in the control plane, beyond its addresses and kubeconfigs.

node_daemons() {
  printf '%s\n' "$1-kubelet" "$1-kube-proxy" "$1-containerd"
}

# node_namespaces NODE: nsenter's options.
node_namespaces() {
  printf '%s\n' --net="$(netns_of "$1")" --mount="$RUN/ns/$1.mnt"
}

node_socket() {
  printf '%s/%s/containerd.sock\n' "$RUN" "$1"
}

# node_prepare NODE: all that its daemons need before they start.
node_prepare() {
  local node=$1
  mkdir -p "$STATE/$node" "$RUN/$node"
  cgroup_create "$node"
  mount_namespace_create "$RUN/ns/$node.mnt" "$STATE/$node"
}

# node_containerd_start NODE: apart from the rest, for it needs no API server.
node_containerd_start() {
  local node=$1
  daemon_runs "$node-containerd" || containerd_configure "$node"
  local -a namespaces
  mapfile -t namespaces < <(node_namespaces "$node")
  daemon_start "$node-containerd" "${namespaces[@]}" -- \
    "$LIBEXEC/containerd" --config "$STATE/$node/containerd.toml"
}

# restrict_oom_score_adj: without CAP_SYS_RESOURCE runc could not lower the score of a sandbox.
containerd_configure() {
  local node=$1 directory=$STATE/$1 runc
  runc=$(realpath "$LIBEXEC/runc")
  mkdir -p "$directory/cni"
  registries_trust "$directory/registries"
  write "$directory/cni/10-bridge.conflist" 0644 <<EOF
{"cniVersion": "1.0.0", "name": "$ID", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "$directory/addresses",
            "ranges": [[{"subnet": "$PODS.${node#node}.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}
]}
EOF
  write "$directory/containerd.toml" 0644 <<EOF
version = 3
root = "$directory/containerd"
state = "$RUN/$node/containerd"
disabled_plugins = [
  "io.containerd.nri.v1.nri",
  "io.containerd.internal.v1.tracing",
  "io.containerd.tracing.processor.v1.otlp",
]
[grpc]
  address = "$(node_socket "$node")"
[ttrpc]
  address = "$(node_socket "$node").ttrpc"
[plugins."io.containerd.internal.v1.opt"]
  path = "$directory/opt"
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "$PROBE_IMAGE"
[plugins."io.containerd.cri.v1.images".registry]
  config_path = "$directory/registries"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["$LIBEXEC"]
    conf_dir = "$directory/cni"
  [plugins."io.containerd.cri.v1.runtime".containerd]
    default_runtime_name = "runc"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
        BinaryName = "$runc"
        SystemdCgroup = false
EOF
}

# A short update period lets the control plane see a dead node early.
kubelet_configure() {
  local node=$1 directory=$STATE/$1
  write "$directory/resolv.conf" 0644 <<<"nameserver $CONTROL_PLANE"
  write "$directory/kubelet.yaml" 0644 <<EOF
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: $PKI/cluster-ca.crt}
authorization: {mode: Webhook}
cgroupDriver: cgroupfs
cgroupRoot: /$ID/$node
clusterDNS: ["$CONTROL_PLANE"]
clusterDomain: $CLUSTER_DOMAIN
containerRuntimeEndpoint: unix://$(node_socket "$node")
failSwapOn: false
featureGates: {ContainerRestartRules: true, ImageVolume: true}
nodeLeaseDurationSeconds: 8
nodeStatusUpdateFrequency: 2s
registryPullQPS: 0
resolvConf: $directory/resolv.conf
volumePluginDir: $directory/volume-plugins
# The disk belongs to the machine: its being full is no reason to evict pods or delete images.
evictionHard:
  memory.available: "0%"
  nodefs.available: "0%"
  nodefs.inodesFree: "0%"
  imagefs.available: "0%"
imageGCHighThresholdPercent: 100
EOF
}

# node_start NODE: the rest, once the API server answers. The kubelet gives up at once if
# containerd does not listen yet.
node_start() {
  local node=$1
  local -a namespaces
  mapfile -t namespaces < <(node_namespaces "$node")
  daemon_ready 30 "$node-containerd" node_has_image "$node"
  kubeconfig_create "$node" "/O=system:nodes/CN=system:node:$node"
  daemon_runs "$node-kubelet" || kubelet_configure "$node"
  daemon_start "$node-kubelet" "${namespaces[@]}" -- \
    unshare --mount --propagation unchanged -- \
    "$CLUSTER_DIR/lib/keep-sysctls" "$LIBEXEC/kube" kubelet \
    --config "$STATE/$node/kubelet.yaml" \
    --kubeconfig "$KUBECONFIGS/$node" \
    --cert-dir "$STATE/$node/pki" \
    --root-dir "$STATE/$node/kubelet" \
    --hostname-override "$node" \
    --node-ip "$LAN.${node#node}"
  # The limits of connection tracking belong to the machine.
  daemon_start "$node-kube-proxy" "${namespaces[@]}" -- "$LIBEXEC/kube" kube-proxy \
    --kubeconfig "$KUBECONFIGS/kube-proxy" \
    --hostname-override "$node" \
    --proxy-mode iptables \
    --cluster-cidr "$PODS.0.0/16" \
    --conntrack-max-per-core 0 \
    --conntrack-tcp-timeout-established 0 \
    --conntrack-tcp-timeout-close-wait 0
}

# node_has_image NODE: imports the probe image unless it is there.
node_has_image() {
  local -a ctr=("$LIBEXEC/ctr" --address "$(node_socket "$1")" --timeout 10s --namespace k8s.io)
  [[ -S $(node_socket "$1") ]] || return 1
  [[ -n $("${ctr[@]}" images list --quiet "name==$PROBE_IMAGE") ]] ||
    "${ctr[@]}" images import "$(probe_archive)"
}

# node_ready NODE: waits until it says so itself; what the API server remembers of a kubelet that
# died is not enough.
node_ready() {
  daemon_ready 60 "$1-kubelet" node_reports "$1"
  daemon_ready 30 "$1-kube-proxy" nsenter --net="$(netns_of "$1")" -- \
    curl --silent --fail --max-time 5 http://127.0.0.1:10256/livez
}

node_reports() {
  local beat
  beat=$(apiserver_get "/api/v1/nodes/$1" | jq --raw-output --exit-status \
    '.status.conditions[] | select(.type == "Ready" and .status == "True").lastHeartbeatTime') ||
    return 1
  (($(date +%s) - $(date --date "$beat" +%s) < 10))
}

# node_kill NODE: as when the machine loses power. Whatever starts processes goes first.
node_kill() {
  local node=$1 deadline=$((SECONDS + 20))
  local -a daemons processes
  mapfile -t daemons < <(node_daemons "$node")
  daemons_kill "${daemons[@]}"
  while mapfile -t processes < <(node_processes "$node") && ((${#processes[@]})); do
    ((SECONDS < deadline)) || die "cannot kill the processes of $node: ${processes[*]}"
    kill -KILL "${processes[@]}" 2>/dev/null || true
    sleep 0.05
  done
  [[ $node == node1 ]] || ! is_namespace "$NETNS" || ! in_netns ip link show "$node" &>/dev/null ||
    in_netns ip link set "$node" down
}

# node_processes NODE: its pods, and their shims, which outlive containerd.
node_processes() {
  cgroup_processes "$ID/$1"
  pgrep --full "^[^ ]*/containerd-shim-[^ ]* .*-address $(node_socket "$1")( |\$)" || true
}

# node_clear NODE: after a kill, takes away what a reboot would.
node_clear() {
  local node=$1
  ! is_namespace "$RUN/ns/$node.mnt" || umount "$RUN/ns/$node.mnt"
  rm -rf "${RUN:?}/$node"
  cgroup_remove "$ID/$node" || die "cannot remove the cgroups of $node"
}
