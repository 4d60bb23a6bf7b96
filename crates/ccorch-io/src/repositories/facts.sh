# The facts of one repository, as fields that end with NUL; `ccorch-core/src/safepoint/facts.rs` reads them.
# $1: number of the answer. $2: the clone's folder. In $t: where the answer goes.
set -eu
out=$t/$1 part=$t/part-$1 clone=$2
exec >"$out" </dev/null
trap 's=$?; [ $s = 0 ] || echo "$clone cannot be looked at; if git calls it damaged: git -C $clone fsck" >&2' EXIT
field() { printf '%s %s\0' "$1" "$2"; }

# A work tree: what is begun in it, and what differs. A full disk or a broken clone must not look like "clean".
tree() {
    field W "$1 $2"
    for mark in MERGE_HEAD CHERRY_PICK_HEAD REVERT_HEAD BISECT_LOG rebase-merge rebase-apply; do
        if [ -e "$3/$mark" ]; then field P "$mark"; fi
    done
    for mark in rebase-merge rebase-apply; do
        if [ -e "$3/$mark/head-name" ]; then field B "$(cat "$3/$mark/head-name" 2>"$part" || :)"; fi
    done
    for mark in rebase-merge/autostash rebase-apply/autostash MERGE_AUTOSTASH; do
        if [ -s "$3/$mark" ]; then field s "$(cat "$3/$mark")"; fi
    done
    if [ -e "$3/sequencer" ] && ! [ -e "$3/CHERRY_PICK_HEAD" ] && ! [ -e "$3/REVERT_HEAD" ]; then field P sequencer; fi
    git -C "$2" status --porcelain=v2 -z --branch --untracked-files=all --no-renames --ignore-submodules=none >"$part"
    sed -z 's/^/S /' "$part"
}

# What no remote has. A push by URL leaves no remote-tracking branch, and nothing tells a tag that was pushed: before something
# is called unpushed, the remote is asked. What git says is kept before it is looked at: a failure in a test would be none.
saved() {
    # Rescues of earlier cutovers, which may be nowhere else.
    git -C "$1" for-each-ref --format='k %(objectname) %(refname:lstrip=3)%00' refs/ccorch/rescue
    git -C "$1" for-each-ref --format='%(objectname)' refs/stash >"$part"
    if [ -s "$part" ]; then git -C "$1" log -g --format='s %H%x00' refs/stash; fi
    head=$(git -C "$1" rev-parse -q --verify HEAD || :)
    new=$(git -C "$1" rev-list -n 1 --branches --tags $head --not --remotes)
    if [ -z "$new" ]; then return; fi
    # Ten seconds are enough for a remote that answers; without an answer it is "not pushed".
    known=$(timeout 10 git -C "$1" ls-remote -q origin 'refs/heads/*' 'refs/tags/*' 2>/dev/null | cut -f 1 | sort -u |
        git -C "$1" cat-file --batch-check='%(objectname) %(objecttype)' | sed -n 's/ commit$//p')
    git -C "$1" for-each-ref --format='%(objectname) %(refname:lstrip=2)' refs/heads >"$part"
    while read -r id name; do
        new=$(git -C "$1" rev-list -n 1 "$id" --not --remotes $known)
        if [ -n "$new" ]; then field u "$id $name"; fi
    done <"$part"
    detached "$1" "$known"
    new=$(git -C "$1" rev-list -n 1 --tags --not --branches --remotes $known)
    if [ -z "$new" ]; then return; fi
    git -C "$1" for-each-ref --format='%(refname)' refs/tags >"$part"
    while read -r name; do
        new=$(git -C "$1" rev-list -n 1 "$name" --not --branches --remotes $known)
        if [ -n "$new" ]; then field t "$new ${name#refs/tags/}"; fi
    done <"$part"
}

detached() {
    if git -C "$1" symbolic-ref -q HEAD >"$part"; then return; fi
    head=$(git -C "$1" rev-parse -q --verify HEAD)
    new=$(git -C "$1" rev-list -n 1 "$head" --not --branches --remotes $2)
    if [ -n "$new" ]; then field d "$head"; fi
}

# Submodules of a work tree; each linked work tree has clones of its own of them.
modules() {
    if ! [ -e "$1/.gitmodules" ]; then return; fi
    git -C "$1" submodule --quiet foreach --recursive pwd >"$part-modules"
    while IFS= read -r dir; do
        git=$(git -C "$dir" rev-parse --absolute-git-dir)
        tree submodule "$dir" "$git"
        saved "$dir"
        # That of one in a linked work tree has no place of the same name elsewhere.
        case $git in "$clone"/.git/modules/*) content "$git" ;; esac
    done <"$part-modules"
}

# Files of a git folder. What an agent at work takes away under the look was none that stays.
files() {
    LC_ALL=C find "$@" 2>"$part" || if grep -v ': No such file or directory$' "$part" >&2; then return 1; fi
}

# What git LFS keeps outside of git, whose pushes and packs hold pointers alone.
content() {
    files "$1/lfs/objects" -regex '.*/lfs/objects/[0-9a-f][0-9a-f]/[0-9a-f][0-9a-f]/[0-9a-f]*' -type f -printf 'o %p\0'
}

field R "$1"
if ! [ -e "$2/.git" ]; then field Z ''; exit 0; fi
field G ''
if [ -d "$2/.git" ]; then common=$2/.git git=$2/.git; else
    common=$(git -C "$2" rev-parse --path-format=absolute --git-common-dir)
    git=$(git -C "$2" rev-parse --absolute-git-dir)
fi
if [ -e "$git/ccorch-incomplete" ]; then field I ''; fi
files "$common" -path '*/objects/[0-9a-f][0-9a-f]' -prune -o -type f -name '*.lock' -printf 'L %P\0'
if [ -d "$2/.git" ]; then content "$common"; fi
git -C "$2" for-each-ref --format='f %(objectname) %(refname)%00' refs/heads refs/remotes
git -C "$2" config --local --list -z >"$part"
sed -z 's/^/c /' "$part"
tree main "$2" "$git"
saved "$2"
if [ -d "$common/worktrees" ]; then
    git -C "$2" worktree list --porcelain >"$part"
    sed -n 's/^worktree //p' "$part" | tail -n +2 >"$part-trees"
    while IFS= read -r linked; do
        # One whose folder is gone has nothing to lose.
        if ! [ -e "$linked/.git" ]; then continue; fi
        tree linked "$linked" "$(git -C "$linked" rev-parse --absolute-git-dir)"
        detached "$linked" ''
        modules "$linked"
    done <"$part-trees"
fi
if [ -e "$2/.gitmodules" ]; then field M ''; fi
modules "$2"
field Z ''
rm -f "$part" "$part-trees" "$part-modules"
