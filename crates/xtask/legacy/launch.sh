#!/bin/bash
# Starts, stops and shows the loops. By hand, or from cc-ci-loops.service at boot.
#
#   launch.sh start|stop|status
set -u

root=$(cd "$(dirname "$0")/.." && pwd)
logs=$root/.cc-ci-logs
phases=(1d 2 3 4 5 6)
names=(builder adversary orchestrator)
declare -A dirs=([builder]=$root/cc-ci [adversary]=$root/cc-ci-adv [orchestrator]=$root)

phase_plan() {
    local index
    index=$(cat "$logs/.phase-idx" 2>/dev/null || echo 0)
    echo "cc-ci-plan/plan-phase${phases[$index]}.md"
}

# Goes on with the newest conversation of the folder; a first start has none.
agent() {
    local name=$1 dir=${dirs[$1]} prompt
    local transcripts=$HOME/.claude/projects/${dir//[^a-zA-Z0-9]/-}
    local common=(claude --dangerously-skip-permissions --name "$name")
    if compgen -G "$transcripts/*.jsonl" >/dev/null; then
        printf '%q ' "${common[@]}" --continue
    else
        prompt="Work on phase plan $root/$(phase_plan)."
        [ -f "$root/cc-ci-plan/prompts/$name.md" ] && prompt="$(cat "$root/cc-ci-plan/prompts/$name.md") $prompt"
        printf '%q ' "${common[@]}" --session-id "$(cat /proc/sys/kernel/random/uuid)" "$prompt"
    fi
}

start() {
    mkdir -p "$logs"
    for name in "${names[@]}"; do
        if tmux has-session -t "=$name" 2>/dev/null; then
            echo "$name is running already"
            continue
        fi
        tmux new-session -d -s "$name" -c "${dirs[$name]}" -x 160 -y 48 "$(agent "$name")" || return 1
        echo "$(date -Is) started $name, $(phase_plan)" | tee -a "$logs/launch.log"
    done
}

stop() {
    for name in "${names[@]}"; do
        tmux kill-session -t "=$name" 2>/dev/null && echo "$(date -Is) stopped $name" | tee -a "$logs/launch.log"
    done
    # The agents get a hangup and finish what they are writing.
    for _ in $(seq 100); do
        pgrep -u "$(id -u)" -x claude >/dev/null || return 0
        sleep 0.1
    done
    echo "agents are still running after ten seconds" >&2
    return 1
}

status() {
    local rc=0
    for name in "${names[@]}"; do
        if tmux has-session -t "=$name" 2>/dev/null; then echo "$name up"; else echo "$name down"; rc=1; fi
    done
    echo "phase $(cat "$logs/.phase-idx" 2>/dev/null || echo 0): $(phase_plan)"
    return $rc
}

case ${1:-} in
    start | stop | status) "$1" ;;
    *) echo "usage: $0 start|stop|status" >&2; exit 2 ;;
esac
