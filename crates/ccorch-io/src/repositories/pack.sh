# A thin pack of commits. $1: number of the answer. $2: the clone. $3: commits wanted. $4: commits the other has; those
# that are not known here are passed over.
set -eu
{
    printf %s "$3"
    printf %s "$4" | git -C "$2" cat-file --batch-check='%(objectname) %(objecttype)' | sed -n 's/^\(.*\) commit$/^\1/p'
} >"$t/$1.revs"
git -C "$2" pack-objects -q --revs --thin --stdout <"$t/$1.revs" >"$t/$1.pack"
rm -f "$t/$1.revs"
