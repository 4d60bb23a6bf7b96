# Makes an empty world: two hosts and an operator with a small disk each, the git remotes.
# Runs in mount and network namespaces of its own, so that every world has the same paths and addresses.
#
#   world.sh WORLD TOOLS
set -eu
world=$1 tools=$2
ip link set lo up
mount -t tmpfs -o mode=755 world "$world"
mkdir "$world/git" "$world/tools"
mkdir -m 700 "$world/runtime"
mount --bind "$tools" "$world/tools"
for disk in one two operator; do
    mkdir "$world/$disk"
    # Small enough to be filled in a moment.
    mount -t tmpfs -o mode=755,size=32m "disk-$disk" "$world/$disk"
done
