#!/bin/sh
# Becomes the browser ($2 and on) that shows the page at $1, and ends it when the page was open and has not been so for
# $GONE_S seconds (or was never open for $FIRST_S) although the agent answers: a browser whose page has crashed goes on
# for ever and shows an error. Who started this starts it again. Needs curl; an agent that is down proves nothing. Times in
# whole seconds.
set -u
page=${1%%[?#]*}
shift
gone_s=${GONE_S:-30}
first_s=${FIRST_S:-300}
look_every_s=${LOOK_EVERY_S:-5}

watch() {
    unseen_s=0 bound_s=$first_s
    while sleep "$look_every_s" && kill -0 $$ 2>/dev/null; do
        case $(curl --silent --max-time 5 "${page%/}/open") in
            0) unseen_s=$((unseen_s + look_every_s)) ;;
            [1-9]*) unseen_s=0 bound_s=$gone_s ;;
            *) unseen_s=0 ;;
        esac
        if [ "$unseen_s" -ge "$bound_s" ]; then
            echo "the browser runs, and the page has not been open for $unseen_s s: ending it" >&2
            kill $$
            return
        fi
    done
}

watch &
exec "$@"
