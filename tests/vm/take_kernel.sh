#!/bin/sh
# Customize hook of mmdebstrap(1): puts Debian's kernel into the tree "$1", with the few modules that Bluetooth needs.
# The package itself is not installed: it would bring an initramfs that nobody boots and 350 MB of drivers.
set -eu
tree="$1"
work="$(mktemp -d)"
trap 'rm -r "$work"' EXIT
export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"
package="$(apt-cache depends linux-image-amd64 | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)$/\1/p')"
(cd "$work" && apt-get download -qq "$package")
dpkg-deb --fsys-tarfile "$work"/*.deb | tar -x -C "$tree" --wildcards \
    './boot/vmlinuz-*' './lib/modules/*/modules.*' './lib/modules/*/kernel/crypto/*' './lib/modules/*/kernel/lib/*' \
    './lib/modules/*/kernel/net/bluetooth/bluetooth.ko' './lib/modules/*/kernel/net/rfkill/*' \
    './lib/modules/*/kernel/drivers/bluetooth/hci_vhci.ko' --transform='s,^\./lib/,./usr/lib/,'
chroot "$tree" depmod -a "$(basename "$tree"/usr/lib/modules/*)"
