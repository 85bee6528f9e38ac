# shellcheck shell=sh
# Read before the script of a builder.

# in_user_namespace MAP COMMAND…: becomes COMMAND, as root with every capability in a user namespace of its
# own, whose users and groups are MAP. We may write that by ourselves, having CAP_SETUID, CAP_SETGID and
# CAP_SETFCAP; a program that was started in it before had lost its capabilities, which is why it is entered
# afterwards.
in_user_namespace() {
  map=$1
  shift
  ours=$(readlink /proc/self/ns/user)
  unshare -U -m sleep 2147483647 &
  holder=$!
  attempts=0
  until theirs=$(readlink "/proc/$holder/ns/user") && [ "$theirs" != "$ours" ]; do
    attempts=$((attempts + 1))
    if ! kill -0 "$holder" 2>/dev/null || [ "$attempts" -gt 100 ]; then
      echo "cannot make a user namespace" >&2
      return 70
    fi
    sleep 0.1
  done
  if ! echo "$map" >"/proc/$holder/uid_map" || ! echo "$map" >"/proc/$holder/gid_map"; then
    echo "cannot map the users of a user namespace" >&2
    return 70
  fi
  exec nsenter -t "$holder" -U -m "$@"
}
