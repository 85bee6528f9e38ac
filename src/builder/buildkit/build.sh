# shellcheck shell=sh
# Starts buildkitd, runs `buildctl build` once, and ends buildkitd. Exit code 70: buildkitd did not start.
#
#   build UserNamespace|Rootless OUTPUT ARGUMENT…   where the image goes, and arguments of `buildctl build`

isolation=$1
output=$2
shift 2
address=unix:///tmp/buildkitd.sock
log=/tmp/buildkitd.log
printf '%s' "$BUILDKITD_CONFIG" >/tmp/buildkitd.toml

# Without a process sandbox: in a pod nobody may mount a new /proc.
with_daemon() {
  "$@" buildkitd --root /transship/state/buildkit --addr "$address" --config /tmp/buildkitd.toml \
    --oci-worker-no-process-sandbox
}
case $isolation in
  UserNamespace) with_daemon in_user_namespace "0 0 65536" >"$log" 2>&1 & ;;
  Rootless) with_daemon rootlesskit >"$log" 2>&1 & ;;
esac
daemon=$!

attempts=0
until buildctl --addr "$address" debug workers >/dev/null 2>&1; do
  attempts=$((attempts + 1))
  if ! kill -0 "$daemon" 2>/dev/null || [ "$attempts" -gt 200 ]; then
    echo "buildkitd did not start" >&2
    cat "$log" >&2
    exit 70
  fi
  sleep 0.1
done
# The pod was made before the commit was read. A build argument of the user's comes later, and counts.
if [ -s "$SOURCE_DATE_EPOCH_FILE" ]; then
  set -- "--opt=build-arg:SOURCE_DATE_EPOCH=$(cat "$SOURCE_DATE_EPOCH_FILE")" "$@"
  output=$output,rewrite-timestamp=true
fi
if [ -s "$BASE_IMAGES_FILE" ]; then
  while read -r _ name place; do
    set -- "$@" "--opt=context:$name=docker-image://$place"
  done <"$BASE_IMAGES_FILE"
fi
buildctl --addr "$address" build "$@" "--output=$output"
code=$?
kill "$daemon"
exit "$code"
