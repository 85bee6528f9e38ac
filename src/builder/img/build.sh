# shellcheck shell=sh
# Builds an image and writes it as an archive. Exit code 70: there is no user namespace.
#
#   build UserNamespace|Rootless ARGUMENT…   arguments of `img`

isolation=$1
shift
case $isolation in
  UserNamespace) in_user_namespace img "$@" ;;
  Rootless) exec img "$@" ;;
esac
