# writable.sh NAME: can /mnt/NAME be written to now?  exit 0: yes, 1: no.
#
# A write to a frozen file system blocks beyond any signal and would go through later, so it is not
# tried: reading a file moves its time of access, except that the kernel skips this, without waiting,
# from the first moment of a freeze on.
mount=/mnt/$1
case $1 in
    efi) ;;
    *)
        before=$(stat -c %x "$mount/probe")
        read -r _ <"$mount/probe"
        [ "$(stat -c %x "$mount/probe")" != "$before" ]
        ;;
esac
