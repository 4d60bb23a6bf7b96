#!/bin/sh
# Every command that comes over ssh passes here and is counted. One of them can be killed: before it does anything
# (`early N`), or when it has done everything and has not said so yet (`late N`). The journal's copy is neither: it comes
# with the line that says that a step begins, before or after a test sees that line.
case $SSH_ORIGINAL_COMMAND in *"journal keep"*) exec sh -c "$SSH_ORIGINAL_COMMAND" ;; esac
echo >> /var/commands
if [ -s /var/kill ]; then
    # Several may come at the same time, and each has a number of its own.
    number=$(flock /var/kill-count sh -c 'echo >> /var/kill-count; wc -l < /var/kill-count')
    read -r when nth < /var/kill
    if [ "$number" = "$nth" ]; then
        [ "$when" = early ] || sh -c "$SSH_ORIGINAL_COMMAND"
        : > /var/killed
        kill -KILL $$
    fi
fi
exec sh -c "$SSH_ORIGINAL_COMMAND"
