#!/bin/sh
# An agent of the tests on a real systemd: says who it is, does what is asked through files, and leaves in order.
cd /srv/w || exit 1
name=$1
# A child with a handler of its own, as a build that an agent runs.
(
  trap 'echo "$name child" >> left; exit 0' TERM
  trap '' HUP
  while :; do sleep 0.1; done
) &
trap 'echo "$name agent" >> left; exit 0' TERM
# It outlives its terminal, as agents that run in the background do.
trap '' HUP
echo "this is $name"
while :; do
  sleep 0.1
  if [ -e "$name.fail" ]; then
    rm "$name.fail"
    echo "last words of $name"
    exit 7
  fi
  if [ -e "$name.eat" ]; then
    rm "$name.eat"
    # The agent itself: nothing of it is left to tell how it ended.
    exec tail /dev/zero
  fi
  if [ -e "$name.bomb" ]; then
    rm "$name.bomb"
    while :; do sleep 1000 & done
  fi
  if [ -e "$name.ask" ]; then
    rm "$name.ask"
    echo "$name" > "$name.answer"
  fi
  # Until it is told that this is enough, and the agent lives on.
  if [ -e "$name.hogs" ]; then
    rm "$name.hogs"
    until [ -e "$name.enough" ]; do
      # The kernel takes these first: of the loop's processes it may take the agent while another one is still on its way out.
      sh -c 'echo 1000 > /proc/self/oom_score_adj
        until [ -e "$1.enough" ]; do tail /dev/zero; touch "$1.worst"; done' sh "$name"
    done
    touch "$name.over"
  fi
  if [ -e "$name.bombs" ]; then
    rm "$name.bombs"
    python3 -c '
import os, sys, time
enough, worst = sys.argv[1:]
while not os.path.exists(enough):
    try:
        if os.fork() == 0:
            while not os.path.exists(enough):
                time.sleep(0.1)
            os._exit(0)
    except OSError:
        open(worst, "w").close()
        time.sleep(0.001)
try:
    while os.wait():
        pass
except ChildProcessError:
    pass
' "$name.enough" "$name.worst"
    touch "$name.over"
  fi
  if [ -e "$name.hog" ]; then
    rm "$name.hog"
    tail /dev/zero
    echo "$?" > "$name.hogged"
  fi
done
