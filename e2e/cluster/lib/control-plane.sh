# shellcheck shell=bash
# etcd, API server, controller manager, scheduler and DNS, each one process on the node LAN.
# Must not know: nodes and registries.

control_plane_identities() {
  pki_authority cluster-ca
  pki_key_pair service-accounts
  local name names=IP:$API_SERVICE,IP:$CONTROL_PLANE
  for name in kubernetes{,.default{,.svc{,.$CLUSTER_DOMAIN}}}; do
    names+=,DNS:$name
  done
  pki_issue cluster-ca kube-apiserver /CN=kube-apiserver "$names"
  # The API server's own certificate as a client of the kubelets.
  pki_issue cluster-ca kubelet-client /O=system:masters/CN=kube-apiserver
  kubeconfig_create admin /O=system:masters/CN=admin
  for name in kube-controller-manager kube-scheduler kube-proxy; do
    kubeconfig_create "$name" "/CN=system:$name"
  done
  kubeconfig_create coredns /CN=coredns
}

etcd_start() {
  daemon_start etcd --net="$NETNS" -- "$LIBEXEC/kube" etcd \
    --data-dir "$STATE/etcd" \
    --unsafe-no-fsync \
    --listen-client-urls http://127.0.0.1:2379 \
    --advertise-client-urls http://127.0.0.1:2379 \
    --listen-peer-urls http://127.0.0.1:2380 \
    --initial-advertise-peer-urls http://127.0.0.1:2380 \
    --initial-cluster default=http://127.0.0.1:2380
}

# What the operator asks of the API server is written down, and of nobody else.
audit_policy() {
  write "$STATE/audit-policy.yaml" 0644 <<'EOF'
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
    users: ["system:serviceaccount:transship-system:transship"]
  - level: None
EOF
}

# A pod leaves a dead node after 5 s of it being unreachable, instead of 5 minutes.
apiserver_start() {
  daemon_start kube-apiserver --net="$NETNS" -- "$LIBEXEC/kube" kube-apiserver \
    --etcd-servers http://127.0.0.1:2379 \
    --advertise-address "$CONTROL_PLANE" \
    --tls-cert-file "$PKI/kube-apiserver.crt" \
    --tls-private-key-file "$PKI/kube-apiserver.key" \
    --client-ca-file "$PKI/cluster-ca.crt" \
    --kubelet-client-certificate "$PKI/kubelet-client.crt" \
    --kubelet-client-key "$PKI/kubelet-client.key" \
    --kubelet-preferred-address-types InternalIP \
    --service-account-issuer "https://kubernetes.default.svc.$CLUSTER_DOMAIN" \
    --service-account-key-file "$PKI/service-accounts.pub" \
    --service-account-signing-key-file "$PKI/service-accounts.key" \
    --service-cluster-ip-range "$SERVICES" \
    --authorization-mode Node,RBAC \
    --enable-admission-plugins NodeRestriction \
    --allow-privileged \
    --audit-policy-file "$STATE/audit-policy.yaml" \
    --audit-log-path "$STATE/logs/audit.log" \
    --audit-log-mode blocking \
    --default-not-ready-toleration-seconds 5 \
    --default-unreachable-toleration-seconds 5 \
    --feature-gates ContainerRestartRules=true,ImageVolume=true
}

# A silent node is given up after 12 s, instead of 50.
controllers_start() {
  daemon_start kube-controller-manager --net="$NETNS" -- "$LIBEXEC/kube" kube-controller-manager \
    --kubeconfig "$KUBECONFIGS/kube-controller-manager" \
    --use-service-account-credentials \
    --service-account-private-key-file "$PKI/service-accounts.key" \
    --root-ca-file "$PKI/cluster-ca.crt" \
    --cluster-signing-cert-file "$PKI/cluster-ca.crt" \
    --cluster-signing-key-file "$PKI/cluster-ca.key" \
    --allocate-node-cidrs=false \
    --leader-elect=false \
    --node-monitor-period 2s \
    --node-monitor-grace-period 12s
  daemon_start kube-scheduler --net="$NETNS" -- "$LIBEXEC/kube" kube-scheduler \
    --kubeconfig "$KUBECONFIGS/kube-scheduler" \
    --leader-elect=false
}

# The names in $STATE/hosts come first; a change of that file counts after a second. What is neither
# there nor in the cluster does not exist: there is no way out to ask.
dns_start() {
  daemon_runs coredns || write "$STATE/Corefile" 0644 <<EOF
.:53 {
    bind $CONTROL_PLANE
    errors
    ready 127.0.0.1:8181
    cache 5
    hosts $STATE/hosts {
        ttl 5
        reload 1s
        no_reverse
        fallthrough
    }
    kubernetes $CLUSTER_DOMAIN in-addr.arpa ip6.arpa {
        kubeconfig $KUBECONFIGS/coredns transship
        ttl 5
    }
    template ANY ANY {
        rcode NXDOMAIN
    }
}
EOF
  daemon_start coredns --net="$NETNS" -- "$LIBEXEC/coredns" -conf "$STATE/Corefile"
}

# apiserver_get PATH: as the administrator.
apiserver_get() {
  in_netns curl --silent --fail --max-time 5 --cacert "$PKI/cluster-ca.crt" \
    --cert "$PKI/admin.crt" --key "$PKI/admin.key" "$API_SERVER$1"
}

kubectl() {
  in_netns "$BIN/kubectl" --kubeconfig "$ADMIN_KUBECONFIG" --cache-dir "$STATE/kubectl" "$@"
}

control_plane_up() {
  etcd_start
  audit_policy
  apiserver_start
  daemon_ready 60 kube-apiserver apiserver_get /readyz
  controllers_start
  dns_start
  local role=/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/transship:coredns
  apiserver_get "$role" >/dev/null ||
    quietly kubectl apply --filename "$CLUSTER_DIR/manifests/coredns.yaml"
}

# Pods are refused before the service account of their namespace exists.
control_plane_ready() {
  daemon_ready 60 kube-controller-manager \
    apiserver_get /api/v1/namespaces/default/serviceaccounts/default
  daemon_ready 30 coredns in_netns curl --silent --fail --max-time 5 http://127.0.0.1:8181/ready
}
