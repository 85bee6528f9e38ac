# shellcheck shell=bash
# Installs the Debian packages that ../packages names. Must not know: what they are for.

POLICY=/usr/sbin/policy-rc.d
POLICY_MARK='# While the test cluster installs packages, no service starts.'

packages_missing() {
  local name
  sed 's/#.*//' "$CLUSTER_DIR/packages" | while read -r name; do
    [[ -z $name ]] || package_installed "$name" || printf '%s\n' "$name"
  done
}

package_installed() {
  [[ $(dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

packages_install() {
  local -a missing
  mapfile -t missing < <(packages_missing)
  ((${#missing[@]})) || return 0

  local -a install=(apt-get install --yes --no-install-recommends "${missing[@]}")
  if ((EUID != 0)); then
    die "these packages are missing; as root: ${install[*]}"
  fi
  say "installing ${missing[*]} (about a minute)"
  (
    # Only for as long as this takes; what a killed run left behind is known by its mark.
    if [[ ! -e $POLICY ]] || grep -qxF "$POLICY_MARK" "$POLICY"; then
      trap 'rm -f "$POLICY"' EXIT
      printf '#!/bin/sh\n%s\nexit 101\n' "$POLICY_MARK" | write "$POLICY" 0755
    fi
    export DEBIAN_FRONTEND=noninteractive
    quietly apt-get update
    quietly "${install[@]}" --option DPkg::Lock::Timeout=300
  )
}
