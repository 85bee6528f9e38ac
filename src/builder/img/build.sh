# shellcheck shell=sh
# Builds an image and writes it as an archive. Exit code 70: there is no user namespace.
#
#   build UserNamespace|Rootless ARGUMENT…   arguments of `img`

isolation=$1
shift
# Root is the pod's user 1 and not its root, which img would take for the root of the node.
map='0 1 1
1 0 1
2 2 65534'
case $isolation in
  UserNamespace)
    # The tests of img are what goes without a user namespace of its own making.
    export IMG_RUNNING_TESTS=1
    in_user_namespace "$map" img "$@"
    ;;
  Rootless) exec img "$@" ;;
esac
