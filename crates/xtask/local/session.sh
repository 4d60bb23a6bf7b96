#!/bin/sh
# Every command that comes over ssh passes here and is counted. One of them can be killed: before it does anything
# (`early N`), or when it has done everything and has not said so yet (`late N`).
echo >> /var/commands
if [ -s /var/kill ]; then
    echo >> /var/kill-count
    read -r when nth < /var/kill
    if [ "$(wc -l < /var/kill-count)" = "$nth" ]; then
        [ "$when" = early ] || sh -c "$SSH_ORIGINAL_COMMAND"
        : > /var/killed
        kill -KILL $$
    fi
fi
exec sh -c "$SSH_ORIGINAL_COMMAND"
