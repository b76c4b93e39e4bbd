#!/bin/sh
# The agent's freeze hook: records each call, then does what the test put into /run/lab/hook.
echo "$1" >>/run/lab/hook.log
[ -e /run/lab/hook ] || exit 0
# A session of its own, so that a hook can be ended whole after its agent is gone.
setsid sh /run/lab/hook "$1" &
echo $! >>/run/lab/hook.pids
wait $!
