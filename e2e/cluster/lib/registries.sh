# shellcheck shell=bash
# The registries beside the cluster, on the node LAN: one open over plain HTTP, one with TLS and a
# password. Must not know: Kubernetes, and who pulls or pushes.

REGISTRIES=(plain secure)
PLAIN_REGISTRY=plain.registry.test:5000
SECURE_REGISTRY=secure.registry.test:5443
SECURE_CA=$PKI/registry-ca.crt
SECURE_USERNAME=transship
SECURE_PASSWORD_FILE=$STATE/registries/secure/password

registry_directory() {
  [[ " ${REGISTRIES[*]} " == *" $1 "* ]] || die "there is no registry $1: one of ${REGISTRIES[*]}"
  printf '%s/registries/%s\n' "$STATE" "$1"
}

registry_address() {
  case $1 in
    plain) printf '%s\n' "$PLAIN_REGISTRY" ;;
    secure) printf '%s\n' "$SECURE_REGISTRY" ;;
  esac
}

# What outlives a wipe: the password, certificates, and the secret that lets an upload go on after
# a restart.
registries_identities() {
  local name directory
  for name in "${REGISTRIES[@]}"; do
    directory=$(registry_directory "$name")
    mkdir -p "$directory"
    [[ -f $directory/secret ]] || openssl rand -hex 16 | write "$directory/secret" 0600
  done
  pki_authority registry-ca
  # The address too, by which the nodes pull: they have no DNS.
  pki_issue registry-ca secure-registry /CN=secure.registry.test \
    "DNS:${SECURE_REGISTRY%:*},IP:$CONTROL_PLANE"
  [[ -f $SECURE_PASSWORD_FILE ]] ||
    openssl rand -hex 16 | tr -d '\n' | write "$SECURE_PASSWORD_FILE" 0600
  [[ -f $directory/htpasswd ]] ||
    htpasswd -niBC 5 "$SECURE_USERNAME" <"$SECURE_PASSWORD_FILE" | write "$directory/htpasswd" 0600
  [[ -f $STATE/hosts ]] ||
    write "$STATE/hosts" 0644 <<<"$CONTROL_PLANE ${PLAIN_REGISTRY%:*} ${SECURE_REGISTRY%:*}"
}

registry_configure() {
  local name=$1 directory=$2 address
  address=$(registry_address "$name")
  {
    cat <<EOF
version: 0.1
storage:
  filesystem: {rootdirectory: $directory/storage}
  delete: {enabled: true}
http:
  addr: $CONTROL_PLANE:${address#*:}
  secret: $(<"$directory/secret")
EOF
    [[ $name != secure ]] || cat <<EOF
  tls: {certificate: $PKI/secure-registry.crt, key: $PKI/secure-registry.key}
auth:
  htpasswd: {realm: secure.registry.test, path: $directory/htpasswd}
EOF
  } | write "$directory/config.yml" 0600
}

# The registry prints one line per request, in Apache's combined format, and all else to stderr.
registry_start() {
  local name=$1 directory
  directory=$(registry_directory "$name")
  if ! daemon_runs "registry-$name"; then
    mkdir -p "$directory/storage"
    registry_configure "$name" "$directory"
    DAEMON_STDOUT=$directory/access.log \
      daemon_start "registry-$name" --net="$NETNS" -- docker-registry serve "$directory/config.yml"
  fi
  daemon_ready 30 "registry-$name" registry_listens "$name"
}

# Not a request: those are counted.
registry_listens() {
  local address
  address=$(registry_address "$1")
  in_netns bash -c "</dev/tcp/$CONTROL_PLANE/${address#*:}"
}

registry_stop() {
  registry_directory "$1" >/dev/null
  daemons_stop "registry-$1"
}

# registry_wipe NAME: empties the storage; the registry runs afterwards if it did before.
registry_wipe() {
  local name=$1 directory ran=
  directory=$(registry_directory "$name")
  ! daemon_runs "registry-$name" || ran=1
  registry_stop "$name"
  rm -rf "$directory/storage"
  mkdir "$directory/storage"
  [[ -z $ran ]] || registry_start "$name"
}

registries_up() {
  local name
  for name in "${REGISTRIES[@]}"; do
    registry_start "$name"
  done
}

# registries_trust DIRECTORY: tells containerd where the registries' names lead.
registries_trust() {
  local directory=$1/$PLAIN_REGISTRY url=http://$CONTROL_PLANE:${PLAIN_REGISTRY#*:}
  mkdir -p "$directory"
  write "$directory/hosts.toml" 0644 <<EOF
server = "$url"
[host."$url"]
  capabilities = ["pull", "resolve"]
EOF
  directory=$1/$SECURE_REGISTRY url=https://$CONTROL_PLANE:${SECURE_REGISTRY#*:}
  mkdir -p "$directory"
  write "$directory/hosts.toml" 0644 <<EOF
server = "$url"
[host."$url"]
  capabilities = ["pull", "resolve"]
  ca = "$SECURE_CA"
EOF
}
