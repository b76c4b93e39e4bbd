# frozen.sh NAME...: prints those of the mounts that can't be written to now.
#
# A write to a frozen file system blocks beyond any signal and would go through later, so it is not
# tried: reading a file moves its time of access, except that the kernel skips this, without waiting,
# from the first moment of a freeze on. Its clock moves every 4 ms only, so that there are two looks.
# All mounts in one: what costs here is to start programs.
IFS='
'
look() {
    files='' still=''
    for name; do files="$files$IFS/mnt/$name/probe"; done
    before=$(stat -c '%n %x' $files)
    for name; do read -r _ </mnt/"$name"/probe; done
    for line in $(stat -c '%n %x' $files); do
        case "$IFS$before$IFS" in *"$IFS$line$IFS"*)
            name=${line#/mnt/}
            still="$still${still:+$IFS}${name%%/probe *}"
            ;;
        esac
    done
}

# No freeze stops this one.
for name; do [ "$name" = efi ] || names="$names${names:+$IFS}$name"; done
[ -n "$names" ] || exit 0
look $names
[ -n "$still" ] || exit 0
sleep 0.02
look $still
[ -z "$still" ] || echo "$still"
