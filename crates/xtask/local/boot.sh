# What pid 1 of a host runs: its disk becomes the root, with this machine's programs; then sshd, and what the units of a
# host with systemd would run.
#
#   boot.sh WORLD NAME ADDRESS
set -eu
world=$1 name=$2 address=$3
disk=$world/$name
for dir in usr proc dev run tmp git tools; do mkdir -p "$disk/$dir"; done
for dir in bin sbin lib lib64; do [ -L "$disk/$dir" ] || ln -s "usr/$dir" "$disk/$dir"; done
mount --rbind --make-rslave /usr "$disk/usr"
mount --bind "$world/tools" "$disk/usr/local"
mount --rbind --make-rslave /dev "$disk/dev"
mount -t proc proc "$disk/proc"
mount -t tmpfs -o mode=755 run "$disk/run"
mount -t tmpfs -o mode=1777 tmp "$disk/tmp"
mount --bind "$world/git" "$disk/git"
mkdir "$disk/run/sshd"
# A boot of its own, as the kernel tells it.
cat /proc/sys/kernel/random/uuid > "$disk/run/boot-id"
mount --bind "$disk/run/boot-id" "$disk/proc/sys/kernel/random/boot_id"
hostname "$name"
exec chroot "$disk" /bin/sh /etc/start "$address"
