# The control shell: one request at a time over a serial port.
#
# Request:  R ID LIMIT LINES BYTES\n, and so many lines of a command, with so many bytes.
# Reply:    0x1e ID B\n, what the command printed, 0x1e ID STATUS\n; status 124 after LIMIT seconds.
# A busy guest may lose bytes of a request: nothing is run then, and the reply's status is "damaged".
# Greeting: 0x1e READY\n, at each start.
#
# A command may block for ever in the kernel (a write to a frozen file system ignores signals), so
# it is never waited for: it reports its own end through a pipe.
port=$1
mark=$(printf '\036')
newline='
'
stty -F "$port" raw -echo 115200
exec 3<>"$port"
[ -p /run/lab/ended ] || mkfifo /run/lab/ended
exec 4<>/run/lab/ended
printf '%sREADY\n' "$mark" >&3

while IFS= read -r line <&3; do
    case $line in "R "*) ;; *) continue ;; esac
    set -- $line
    id=$2 limit=$3 lines=$4 bytes=$5 command=
    while [ "$lines" -gt 0 ] && IFS= read -r -t 5 line <&3; do
        command=$command$line$newline
        lines=$((lines - 1))
    done
    if [ "$lines" -ne 0 ] || [ "${#command}" -ne "$bytes" ]; then
        echo "$mark$id damaged" >&3
        continue
    fi

    output=/run/lab/output.$id
    setsid sh -c '(eval "$2") 4>&-; echo "$1 $?" >&4' sh "$id" "$command" \
        >"$output" 2>&1 </dev/null 3>&- &
    child=$!
    status=
    while read -r -t "$limit" ended code <&4; do
        [ "$ended" = "$id" ] && status=$code && break
    done
    if [ -z "$status" ]; then
        status=124
        kill -KILL -"$child"
    fi
    { echo "$mark$id B"; cat "$output"; echo "$mark$id $status"; } >&3
    rm -f "$output"
done
