#!/bin/sh
# Waits until `edge-agent status` said 0 for $WINDOW_S seconds without a break, by one and the same process, and then runs
# the programs of the folder $1 in the order of their names. Exit status 1: one of them failed. Never runs one before.
set -u
folder=$1
window_s=${WINDOW_S:-300}
look_every_s=${LOOK_EVERY_S:-15}

agent_pid() { systemctl show --property=MainPID --value edge-agent.service; }
uptime_s() { cut -d . -f 1 /proc/uptime; }

since='' who=''
while :; do
    pid=$(agent_pid)
    if edge-agent status >/dev/null 2>&1 && [ "$(agent_pid)" = "$pid" ]; then
        if [ "$pid" != "$who" ]; then
            since=$(uptime_s) who=$pid
            echo "the agent is healthy: marking the update good if it stays so for $window_s s"
        fi
        [ $(($(uptime_s) - since)) -ge "$window_s" ] && break
    elif [ -n "$who" ]; then
        who=''
        echo "the agent is not healthy: waiting for it from the start"
    fi
    sleep "$look_every_s"
done

failed=0
for program in "$folder"/*; do
    case $program in *.dpkg-* | *~) continue ;; esac
    [ -f "$program" ] || continue
    if [ ! -x "$program" ]; then
        echo "$program: not run, it is not executable: chmod +x it"
        failed=1
    elif "$program"; then
        echo "$program: done"
    else
        echo "$program: failed with status $?"
        failed=1
    fi
done
exit "$failed"
