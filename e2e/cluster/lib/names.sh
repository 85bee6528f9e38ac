# shellcheck shell=bash disable=SC2034
# Names, paths and addresses of this checkout's cluster; everything else takes them from here.
# Must not know: processes, and whether any of it exists.

CLUSTER_DIR=$(realpath "$(dirname "${BASH_SOURCE[0]}")/..")
CHECKOUT=$(realpath "$CLUSTER_DIR/../..")

# Two checkouts have two clusters, which share nothing but the cache of built components.
ID=transship-$(printf '%s' "$CHECKOUT" | sha256sum | cut -c1-8)
STATES=${TRANSSHIP_STATE:-/var/lib/transship-e2e}
STATE=$STATES/$ID
# Sockets and namespaces: short, for a socket's path has at most 107 characters.
RUN=/run/$ID
NETNS=$RUN/ns/net
COMPONENT_CACHE=${TRANSSHIP_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/transship}/components

# For people, and for the cluster itself.
BIN=$STATE/bin
LIBEXEC=$STATE/libexec
LOGS=$STATE/logs
PKI=$STATE/pki
KUBECONFIGS=$STATE/kubeconfigs
ADMIN_KUBECONFIG=$KUBECONFIGS/admin
RESOLV_CONF=$STATE/resolv.conf

# The node LAN. Node N has address .N on it and the Nth pod range; the control plane, DNS and the
# registries share node 1's address. Every cluster has its own network namespace, so all of them
# use the same numbers.
LAN=10.90.0
CONTROL_PLANE=$LAN.1
API_SERVER=https://$CONTROL_PLANE:6443
PODS=10.89
SERVICES=10.96.0.0/16
API_SERVICE=10.96.0.1
CLUSTER_DOMAIN=cluster.local

# The sandbox image of every pod, and a handy one for test pods. It is imported into each node's
# image store, from no registry.
PROBE_IMAGE=localhost/transship/probe:1
