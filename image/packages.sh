# shellcheck shell=bash
# The files of Debian packages without installing anything; sourced, for bash with `set -e`.
#
# Packages come from the sources that this machine's apt is configured with, or from the list of
# sources that the variable `sources` names, and apt verifies them.
# They are only unpacked: no maintainer script runs, and nothing is added that was not named, so the
# architecture need not be this machine's, and no privileges are needed.

# fetch_packages ARCHITECTURE DIRECTORY NAME…: the newest of each package, as DIRECTORY/NAME_*.deb.
fetch_packages() {
  local architecture=$1 directory=$2 state=$2/apt
  shift 2
  mkdir -p "$state"/{lists,archives}/partial
  touch "$state/status"
  # Lists of its own, so that neither another architecture nor an old list of the machine is in the
  # way; none of the machine's hooks, which are about its own lists.
  cat >"$state/apt.conf" <<CONF
#clear APT::Update;
APT::Update::Error-Mode "any";
APT::Architecture "$architecture";
APT::Architectures "$architecture";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Retries "3";
Dir::State "$state";
Dir::State::Lists "$state/lists";
Dir::State::Status "$state/status";
Dir::Cache "$state";
CONF
  if [[ ${sources:-} ]]; then
    printf 'Dir::Etc::SourceList "%s";\nDir::Etc::SourceParts "/dev/null";\n' "$sources" >>"$state/apt.conf"
  fi
  local apt=(apt-get --quiet=2 --config-file "$state/apt.conf")
  "${apt[@]}" update >&2
  (cd "$directory" && "${apt[@]}" download "$@" >&2)
  rm -r "$state"
}

# unpack_packages DIRECTORY PACKAGE.deb…: unpacks into DIRECTORY what a container has a use for, and
# records each package where scanners for vulnerabilities look for it.
unpack_packages() {
  local directory=$1 package name
  shift
  mkdir -p "$directory/var/lib/dpkg/status.d"
  for package; do
    dpkg-deb --extract "$package" "$directory"
    name=$(dpkg-deb --field "$package" Package)
    dpkg-deb --field "$package" >"$directory/var/lib/dpkg/status.d/$name"
  done
  # Of the documentation only the copyright files, which the licences ask for; a package may have
  # its own as a link to the directory of another.
  local documentation=$directory/usr/share/doc
  find "$documentation" -mindepth 2 ! -type d ! -regex '.*/doc/[^/]*/copyright' -delete
  find "$documentation" -type d -empty -delete
  rm -rf "$directory"/usr/share/{base-files,bug,doc-base,info,lintian,locale,man}
  # Character set conversions and auditing of the linker, which nothing in the images uses.
  rm -rf "$directory"/usr/lib/*/{audit,gconv}
}

# gather_certificates DIRECTORY: what the maintainer script of ca-certificates would do: every
# authority, in one file.
gather_certificates() {
  local root=$1 certificate
  mkdir -p "$root/etc/ssl/certs"
  for certificate in "$root"/usr/share/ca-certificates/mozilla/*.crt; do
    cat "$certificate"
    echo
  done >"$root/etc/ssl/certs/ca-certificates.crt"
  rm -r "$root/usr/share/ca-certificates" "$root/usr/sbin/update-ca-certificates"
  rm -rf "$root/etc/ca-certificates"
}
