#!/bin/sh
# boot.sh NAME LOWER... -- OPTIONS: boots the Debian tree LOWER (the first one on top) as a container that writes to memory
# only. Started by container.py in mount and process namespaces of its own: whatever is left ends and vanishes with them.
set -eu
name=$1
shift
lower=''
while [ "$1" != -- ]; do
    lower=${lower:+$lower:}$1
    shift
done
shift
# systemd inside goes for the unified hierarchy, whatever this machine has.
umount -R /sys/fs/cgroup 2>/dev/null || umount -l /sys/fs/cgroup 2>/dev/null || true
mount -t cgroup2 cgroup2 /sys/fs/cgroup
# The nspawn of this container knows nothing of the machine's own systemd.
mount -t tmpfs tmpfs /run
mkdir /run/layer
mount -t tmpfs tmpfs /run/layer
mkdir /run/layer/upper /run/layer/work /run/root
mount -t overlay overlay -o "lowerdir=$lower,upperdir=/run/layer/upper,workdir=/run/layer/work" /run/root
group=/sys/fs/cgroup/$name
mkdir -p "$group"
echo $$ >"$group/cgroup.procs"
exec systemd-nspawn --quiet --register=no --keep-unit --directory=/run/root --boot --private-network --console=pipe \
    --machine="$name" "$@"
