#!/bin/sh
# Every command that comes over ssh passes here and is counted. One of them can be killed: before it does anything
# (`early N`), or when it has done everything and has not said so yet (`late N`). The journal's copy is neither: it comes
# with the line that says that a step begins, before or after a test sees that line.
case $SSH_ORIGINAL_COMMAND in *"journal keep"*) exec sh -c "$SSH_ORIGINAL_COMMAND" ;; esac
echo >> /var/commands
# An act bears the turn of its driver. One of them can be held (`N`): it comes when its driver sleeps already, and does
# nothing before it is let go.
case $SSH_ORIGINAL_COMMAND in *" --turn "* | *"this driver may not act"*)
    echo >> /var/acts
    if [ -s /var/hold ]; then
        number=$(flock /var/hold-count sh -c 'echo >> /var/hold-count; wc -l < /var/hold-count')
        if [ "$number" = "$(cat /var/hold)" ]; then
            : > /var/held
            while [ -e /var/hold ]; do sleep 0.02; done
        fi
    fi
esac
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
