# Runs the guest agent, and starts it again as /run/lab/respawn says: "never", or after so many
# seconds (0: at once, as Debian's unit does). A line written to the pipe ends a wait: "start" starts
# the agent, anything else reads the policy again.
transport=$1
port=/dev/virtio-ports/org.qemu.guest_agent.0
method=virtio-serial
[ "$transport" = isa ] && port=/dev/ttyS2 method=isa-serial

mkfifo /run/lab/control
exec 5<>/run/lab/control

pause() { # until it is time to start the agent
    while :; do
        read -r policy </run/lab/respawn
        wish=
        case $policy in
            never) read -r wish <&5 ;;
            0) return ;;
            *) read -r -t "$policy" wish <&5 || return ;;
        esac
        [ "$wish" = start ] && return
    done
}

[ "$transport" = none ] && exit
if [ "$(cat /run/lab/autostart)" != 1 ]; then
    while read -r wish <&5; do [ "$wish" = start ] && break; done
fi
while :; do
    qemu-ga -m "$method" -p "$port" -F/lab/hook.sh -t /run/qga \
        $(cat /run/lab/agent.options 2>/dev/null) \
        -l /run/lab/agent.log 5>&- &
    echo $! >/run/lab/agent.pid
    wait $!
    status=$?
    rm -f /run/lab/agent.pid
    read -r uptime _ </proc/uptime
    echo "$uptime $status" >>/run/lab/agent.ended
    pause
done
