# Commits what a work tree holds, and names commits. $1: environment and git. $2: the work tree. $3: what names begin
# with. $4: lines of `COMMIT SUFFIX`. $5: the committer's address. Standard input: files, each ended by NUL.
# Prints `COMMIT NAME` lines, an empty line, and all that no remote has: of each commit the message, each line of it behind a
# blank, and the patch.
set -eu; umask 077
eval "$1"
cd -- "$2"
t=$(mktemp -d)
# Its own words on a failure: an error without any shows the end of what was printed, and that may be a secret.
trap 's=$?; rm -rf -- "$t"; [ $s = 0 ] || echo "the rescue could not be finished" >&2' EXIT
cat >"$t/files"
# LFS would keep the content outside git, where a push of ours does not take it: here the content itself is committed.
plain() {
    git -c user.name=ccorch -c user.email="$identity" -c commit.gpgSign=false \
        -c filter.lfs.clean= -c filter.lfs.process= -c filter.lfs.required=false "$@"
}
identity=$5
# The time in the name is the commit's: made again, it is the same commit.
when=$(printf %s "$3" | sed -n 's/.*\/\(....\)\(..\)\(..\)T\(..\)\(..\)\(..\)Z.*/\1-\2-\3T\4:\5:\6Z/p')
if [ -n "$when" ]; then export GIT_AUTHOR_DATE="$when" GIT_COMMITTER_DATE="$when"; fi
keep() {
    git update-ref "refs/ccorch/rescue/${3#ccorch/rescue/}$2" "$1"
    printf '%s %s%s\n' "$1" "$3" "$2"
    printf '%s\n' "$1" >>"$t/kept"
}
: >"$t/kept"
if [ -s "$t/files" ]; then
    index=$(git rev-parse --git-path index)
    if [ -e "$index" ]; then cp -- "$index" "$t/index"; fi
    GIT_INDEX_FILE=$t/index plain update-index --add --remove -z --stdin <"$t/files"
    tree=$(GIT_INDEX_FILE=$t/index git write-tree)
    set -- "$1" "$2" "$3" "$4" "$5" "$tree"
    for parent in HEAD MERGE_HEAD; do
        id=$(git rev-parse -q --verify "$parent^{commit}" || :)
        if [ -n "$id" ]; then set -- "$@" -p "$id"; fi
    done
    base=$3 commits=$4
    shift 5
    commit=$(echo "Rescue of what was not committed in $(pwd), by ccorch" | plain commit-tree "$@")
    set -- "" "" "$base" "$commits"
    keep "$commit" "" "$base"
fi
printf %s "$4" | while read -r commit suffix; do keep "$commit" "-$suffix" "$3"; done
git log --patch --text --unified=0 -m --no-color --no-ext-diff --no-textconv --no-renames --format='commit %H%n%w(0,1,1)%B' \
    $(cat "$t/kept") --not --remotes >"$t/patch"
echo
cat "$t/patch"
