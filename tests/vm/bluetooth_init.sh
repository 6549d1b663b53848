#!/bin/sh
# First process of the Bluetooth machine: real bluetoothd over a virtual controller, then the test, then power off.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin PYTHONPATH=/opt:/opt/site PYTHONDONTWRITEBYTECODE=1
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs run /run
mkdir /run/dbus
modprobe hci_vhci
dbus-uuidgen --ensure
dbus-daemon --system --nofork --nopidfile &
python3 /opt/nus_peripheral.py &
for _ in $(seq 300); do
    [ -e /sys/class/bluetooth/hci0 ] && break
    sleep 0.1
done
/usr/libexec/bluetooth/bluetoothd --nodetach 2>/dev/null &
timeout 180 python3 /opt/bluetooth_guest.py
echo "guest: exit status $?"
echo o >/proc/sysrq-trigger
sleep 60
