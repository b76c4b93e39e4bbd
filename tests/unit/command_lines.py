"""Command lines as real programs give them to QEMU; only what matters for a visitor is kept."""

from __future__ import annotations

import shlex

PROXMOX_8 = shlex.split(
    "/usr/bin/kvm -id 104 -name web-01,debug-threads=on -no-shutdown"
    " -chardev socket,id=qmp,path=/var/run/qemu-server/104.qmp,server=on,wait=off"
    " -mon chardev=qmp,mode=control"
    " -chardev socket,id=qmp-event,path=/var/run/qmeventd.sock,reconnect=5"
    " -mon chardev=qmp-event,mode=control"
    " -pidfile /var/run/qemu-server/104.pid -daemonize"
    " -smbios type=1,uuid=6b9f6d3e-37d1-4f0d-9c59-0f0a3a5be111"
    " -smp 4,sockets=1,cores=4,maxcpus=4 -nodefaults"
    " -boot menu=on,strict=on,reboot-timeout=1000,splash=/usr/share/qemu-server/bootsplash.jpg"
    " -vnc unix:/var/run/qemu-server/104.vnc,password=on -cpu host,+kvm_pv_eoi -m 4096"
    " -device pci-bridge,id=pci.1,chassis_nr=1,bus=pci.0,addr=0x1e"
    " -chardev socket,path=/var/run/qemu-server/104.qga,server=on,wait=off,id=qga0"
    " -device virtio-serial,id=qga0,bus=pci.0,addr=0x8"
    " -device virtserialport,chardev=qga0,name=org.qemu.guest_agent.0"
    " -device virtio-balloon-pci,id=balloon0,bus=pci.0,addr=0x3,free-page-reporting=on"
    " -drive file=/dev/pve/vm-104-disk-0,if=none,id=drive-scsi0,format=raw,cache=none"
    " -device scsi-hd,bus=scsihw0.0,channel=0,scsi-id=0,lun=0,drive=drive-scsi0,id=scsi0"
    " -machine type=pc+pve0"
)

PROXMOX_8_ISA = shlex.split(
    "/usr/bin/kvm -id 105 -name old,debug-threads=on"
    " -chardev socket,id=qmp,path=/var/run/qemu-server/105.qmp,server=on,wait=off"
    " -mon chardev=qmp,mode=control"
    " -chardev socket,path=/var/run/qemu-server/105.qga,server=on,wait=off,id=qga0"
    " -device isa-serial,chardev=qga0 -daemonize"
)

_LIBVIRT_9_PORT = (
    '{"driver":"virtserialport","bus":"virtio-serial0.0","nr":1,"chardev":"charchannel0",'
    '"id":"channel0","name":"org.qemu.guest_agent.0"}'
)
LIBVIRT_9 = [
    *shlex.split("/usr/bin/qemu-system-x86_64 -name guest=db,debug-threads=on -S -object"),
    '{"qom-type":"secret","id":"masterKey0","format":"raw",'
    '"file":"/var/lib/libvirt/qemu/domain-3-db/master-key.aes"}',
    *shlex.split(
        "-machine pc-q35-7.2,usb=off,vmport=off -accel kvm -no-user-config -nodefaults"
        " -chardev socket,id=charmonitor,fd=31,server=on,wait=off"
        " -mon chardev=charmonitor,id=monitor,mode=control -rtc base=utc -no-shutdown -device"
    ),
    '{"driver":"virtio-serial-pci","id":"virtio-serial0","bus":"pci.3","addr":"0x0"}',
    *shlex.split(
        "-chardev pty,id=charserial0 -device"
        """ '{"driver":"isa-serial","chardev":"charserial0","id":"serial0","index":0}'"""
        " -chardev socket,id=charchannel0,fd=29,server=on,wait=off -device"
    ),
    _LIBVIRT_9_PORT,
    *shlex.split("-sandbox on,obsolete=deny -msg timestamp=on"),
]

LIBVIRT_5 = shlex.split(
    "/usr/libexec/qemu-kvm -name guest=db,debug-threads=on -S"
    " -chardev socket,id=mon0,path=/var/lib/libvirt/qemu/domain-3-db/monitor.sock,server,nowait"
    " -mon chardev=mon0,id=monitor,mode=control -device virtio-serial-pci,id=virtio-serial0"
    " -chardev socket,id=charchannel0,server,nowait,"
    "path=/var/lib/libvirt/qemu/channel/target/domain-3-db/org.qemu.guest_agent.0"
    " -device virtserialport,bus=virtio-serial0.0,nr=1,chardev=charchannel0,id=channel0,"
    "name=org.qemu.guest_agent.0"
)

BY_HAND = shlex.split(
    "qemu-system-x86_64 -enable-kvm -m 2G disk.qcow2 -name mail --qmp unix:/run/m.qmp,server,nowait"
    " -monitor stdio -device virtio-serial-pci -device virtio-serial-pci,id=second"
    " -chardev socket,id=spice,path=/run/vdagent.sock,server=on,wait=off"
    " -device virtserialport,chardev=spice,name=com.redhat.spice.0"
    " -chardev socket,path=/run/m.qga,server=on,wait=off,id=ga"
    " -device virtserialport,nr=3,chardev=ga,id=agentport,name=org.qemu.guest_agent.0"
)
