# shellcheck shell=bash
# How people and tests reach the running cluster. Must not know: how it is started.

access_variables() {
  printf '%s\n' \
    "KUBECONFIG=$ADMIN_KUBECONFIG" \
    "KUBECACHEDIR=$STATE/kubectl" \
    "TRANSSHIP_E2E_CLUSTER=$CLUSTER_DIR/cluster" \
    "TRANSSHIP_E2E_STATE=$STATE" \
    "TRANSSHIP_E2E_NETNS=$NETNS" \
    "TRANSSHIP_E2E_PLAIN_REGISTRY=$PLAIN_REGISTRY" \
    "TRANSSHIP_E2E_SECURE_REGISTRY=$SECURE_REGISTRY" \
    "TRANSSHIP_E2E_SECURE_CA=$SECURE_CA" \
    "TRANSSHIP_E2E_SECURE_USERNAME=$SECURE_USERNAME" \
    "TRANSSHIP_E2E_SECURE_PASSWORD_FILE=$SECURE_PASSWORD_FILE"
}

access_environment() {
  local variable
  while read -r variable; do
    printf 'export %s=%q\n' "${variable%%=*}" "${variable#*=}"
  done < <(access_variables)
  printf "export PATH=%q:\"\$PATH\"\n" "$BIN"
}

# access_enter COMMAND...: becomes COMMAND, with the variables of `env`, and with the cluster's DNS
# as /etc/resolv.conf in a mount namespace of its own. A proxy could not be reached from there.
access_enter() {
  local -a variables
  cluster_require_running
  mapfile -t variables < <(access_variables)
  # shellcheck disable=SC2016 # the inner shell's variables
  exec env --unset=http_proxy --unset=https_proxy --unset=HTTP_PROXY --unset=HTTPS_PROXY \
    --unset=all_proxy --unset=ALL_PROXY "${variables[@]}" PATH="$BIN:$PATH" \
    nsenter --net="$NETNS" -- unshare --mount -- \
    sh -euc 'mount --bind "$1" /etc/resolv.conf; shift; exec "$@"' - "$RESOLV_CONF" "$@"
}
