# Ends what was begun in a work tree and not ended, and leaves commit, branches and files as they are. $1: environment and
# git. $2: the work tree. What it has put aside has a ref by now.
set -eu
eval "$1"
cd -- "$2"
g=$(git rev-parse --absolute-git-dir)
rm -f -- "$g/rebase-merge/autostash" "$g/rebase-apply/autostash" "$g/MERGE_AUTOSTASH"
if [ -e "$g/rebase-merge" ] || [ -e "$g/rebase-apply" ]; then
    # One that was killed while it set itself up has nothing that git would end.
    git rebase --quit >&2 || git am --quit >&2 || :
    rm -rf -- "$g/rebase-merge" "$g/rebase-apply"
fi
if [ -e "$g/MERGE_HEAD" ]; then git merge --quit; fi
if [ -e "$g/CHERRY_PICK_HEAD" ] || [ -e "$g/REVERT_HEAD" ] || [ -e "$g/sequencer" ]; then git cherry-pick --quit; fi
rm -f -- "$g/CHERRY_PICK_HEAD" "$g/REVERT_HEAD"
if [ -e "$g/BISECT_LOG" ]; then git bisect reset HEAD >&2; fi
