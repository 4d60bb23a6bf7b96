# Takes a pack in and moves refs. $1: number of the pack. $2: the clone. $3: lines of `NEW OLD REF`.
set -eu
git -C "$2" unpack-objects -q <"$t/$1.pack"
# A torn pack leaves commits without their files: everything that no ref vouches for is walked.
git -C "$2" rev-list --quiet --objects $(printf %s "$3" | cut -d ' ' -f 1) --not --all
current=$(git -C "$2" symbolic-ref -q HEAD || :)
printf %s "$3" | while read -r new old name; do
    case $name in refs/remotes/*)
        # The target may have heard newer news of the remote.
        if [ -n "${old##*0000000000}" ] && ! git -C "$2" merge-base --is-ancestor "$old" "$new" </dev/null; then continue; fi ;;
    esac
    if [ "$name" = "$current" ]; then
        # A commit that was made since is nobody's to leave behind.
        case $(git -C "$2" rev-parse -q --verify "$name" </dev/null || :) in
            "$new" | "${old##*0000000000}") ;;
            *) echo "$name of $2 has moved meanwhile" >&2; exit 1 ;;
        esac
        # Files with other inodes or times than the index knows would count as changed.
        git -C "$2" update-index -q --refresh </dev/null || :
        git -C "$2" reset -q --keep "$new" </dev/null
    else git -C "$2" update-ref "$name" "$new" "$old" </dev/null; fi
done
