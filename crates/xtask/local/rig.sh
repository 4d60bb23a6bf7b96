# The rig as it is before ccorch moves it: remotes with a first commit, clones on host one, what agents know of their user.
#
#   rig.sh WORLD LOOPS-UID
set -eu
world=$1 uid=$2
as_loops() { setpriv --reuid="$uid" --regid="$uid" --clear-groups env HOME=/nonexistent GIT_CONFIG_NOSYSTEM=1 "$@"; }
first() {
    git init -q --bare -b main "$1"
    tree=$(git -C "$1" mktree </dev/null)
    commit=$(git -C "$1" -c user.name=Operator -c user.email=operator@example.org commit-tree -m Begin "$tree")
    git -C "$1" update-ref refs/heads/main "$commit"
}
cd "$world/git"
git init -q --bare lease.git
for name in build judge; do
    first "$name.git"
    chown -R "$uid:$uid" "$name.git"
done
for host in one two; do
    home=$world/$host/home/loops
    mkdir -p "$home/.claude"
    cat > "$home/.claude.json" <<END
{"hasCompletedOnboarding":true,"bypassPermissionsModeAccepted":true,"projects":{
"/srv/w/build":{"hasTrustDialogAccepted":true},"/srv/w/judge":{"hasTrustDialogAccepted":true}}}
END
    echo '{"note":"no account stands behind this"}' > "$home/.claude/.credentials.json"
    echo '{"interval_ms":1000,"work":true}' > "$home/.claude/stub.json"
    chown -R "$uid:$uid" "$home"
done
w=$world/one/srv/w
for name in build judge; do
    as_loops git clone -q "$world/git/$name.git" "$w/$name"
    # As the hosts see it.
    as_loops git -C "$w/$name" remote set-url origin "/git/$name.git"
done
as_loops mkdir "$w/.logs"
echo 1 | as_loops tee "$w/.logs/phase" > /dev/null
# What is carried beside git; it grows when it has been staged.
mkdir -p "$world/one/srv/beside"
for file in "$w/.logs/kept" "$world/one/srv/beside/kept"; do echo 0 > "$file"; done
chown -R "$uid:$uid" "$world/one/srv/beside" "$w/.logs/kept"
