# A thin pack of commits. $1: number of the answer. $2: the clone. $3: commits wanted. $4: commits the other has; those
# that are not known here are passed over. $5: commits that must be known here.
set -eu
here() { git -C "$2" cat-file --batch-check='%(objectname) %(objecttype)'; }
lacks=$(printf %s "$5" | here "$@" | sed -n '/ commit$/!p')
if [ -n "$lacks" ]; then echo "$2: the other host has commits of its own: $lacks" >&2; exit 1; fi
{
    printf %s "$3"
    printf %s "$4" | here "$@" | sed -n 's/^\(.*\) commit$/^\1/p'
} >"$t/$1.revs"
git -C "$2" pack-objects -q --revs --thin --stdout <"$t/$1.revs" >"$t/$1.pack"
rm -f "$t/$1.revs"
