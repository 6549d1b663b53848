#!/bin/sh
# Renews the certificate if it is good for fewer than $BEFORE_DAYS days, and restarts the agent if what is in force is newer
# than its start: also where an earlier run ended in between. An agent that does not run stays so.
set -eu
in_force=/etc/edge-agent/edge-agent.toml.d/50-enrolment.toml

edge-agent enrol --renew-before "${BEFORE_DAYS:-30}" --broker

since=$(systemctl show --timestamp=unix --property=ActiveEnterTimestamp --value edge-agent.service)
since=${since#@}
if [ -n "$since" ] && [ "$(stat --format=%Y "$in_force")" -ge "$since" ]; then
    echo "the agent takes up what is in force now"
    systemctl try-restart edge-agent.service
fi
