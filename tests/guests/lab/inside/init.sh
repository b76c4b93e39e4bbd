#!/bin/sh
# The guest's first process. Its root is the initramfs: nothing it needs can be frozen.
# Each process costs some 20 ms under emulation, so the shell's own means are used where they do.
export PATH=/bin:/sbin HOME=/ TERM=dumb
mkdir -p /proc /sys /run/lab /run/qga /var/run /tmp /mnt/a /mnt/b /mnt/x /mnt/y /mnt/efi
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
exec </dev/null >/dev/console 2>&1

# Words lab.NAME=VALUE of the kernel's command line become variables.
read -r words </proc/cmdline
for word in $words; do
    case $word in lab.*) eval "${word#lab.}" ;; esac
done
echo "$respawn" >/run/lab/respawn
echo "$autostart" >/run/lab/autostart
: >/run/lab/hook.log

for order in /lib/modules/order*; do
    while read -r module; do
        ordered="$ordered /lib/modules/$module"
    done <"$order"
done
for module in $ordered; do insmod "$module"; done

mkdir -p /dev/virtio-ports
for port in /sys/class/virtio-ports/*; do
    # Not there at all when the agent is on a serial port.
    [ -e "$port/name" ] && read -r name <"$port/name" &&
        ln -s "../${port##*/}" "/dev/virtio-ports/$name"
done

# Dirty pages stay dirty until somebody flushes them, so that a freeze has something to flush.
echo 70 >/proc/sys/vm/dirty_ratio
echo 60 >/proc/sys/vm/dirty_background_ratio
echo 0 >/proc/sys/vm/dirty_writeback_centisecs
# A suspend that can't be (a process is blocked by a freeze) gives up after 2 s, and not after 20.
echo 2000 >/sys/power/pm_freeze_timeout

# A disk is known by its serial number.
for block in /sys/block/vd*; do
    IFS= read -r serial <"$block/serial" || [ -n "$serial" ]
    eval "disk_$serial=/dev/${block##*/}"
done

# In this order; the agent freezes in the reverse one. With strictatime a read moves a file's time of
# access, unless the file system is frozen: that tells frozen from thawed without a write that would
# block (see frozen.sh).
for name in $(IFS=,; echo $mounts); do
    eval "device=\$disk_$name"
    case $name in
        efi) mount -t vfat "$device" "/mnt/$name" ;;
        x | y) mount -t xfs -o strictatime "$device" "/mnt/$name" ;;
        *) mount -t ext4 -o strictatime "$device" "/mnt/$name" ;;
    esac
    [ -s "/mnt/$name/probe" ] || echo probe >"/mnt/$name/probe"
done
[ -n "$disk_swap" ] && mkswap "$disk_swap" >/dev/null && swapon "$disk_swap"
sync

setsid sh /lab/supervise.sh "$agent" &
while :; do
    setsid sh /lab/shell.sh /dev/ttyS1 &
    wait $!
done
