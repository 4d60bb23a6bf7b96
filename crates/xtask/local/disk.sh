# What a host's disk holds before ccorch comes: users, sshd, what its programs read in /etc.
#
#   disk.sh DISK NAME AUTHORIZED-KEY
set -eu
disk=$1 name=$2 key=$3
umask 022
cd "$disk"
mkdir -p etc/ssh etc/ccorch var/log var/lib var/tmp root/.ssh home/loops srv/w
for file in pam.d security login.defs nsswitch.conf ld.so.cache localtime terminfo; do
    if [ -e "/etc/$file" ]; then cp -aL "/etc/$file" "etc/$file"; fi
done
cat > etc/passwd <<END
root:x:0:0::/root:/bin/sh
sshd:x:105:65534::/run/sshd:/usr/sbin/nologin
loops:x:64123:64123::/home/loops:/bin/bash
END
printf 'root:x:0:\nnogroup:x:65534:\nloops:x:64123:\n' > etc/group
printf 'root:*:19000:0:99999:7:::\nloops:*:19000:0:99999:7:::\n' > etc/shadow
echo "$name" > etc/hostname
chown 64123:64123 home/loops srv/w
chmod 700 root/.ssh
cp "$key" root/.ssh/authorized_keys
ssh-keygen -q -t ed25519 -N '' -C "$name" -f etc/ssh/ssh_host_ed25519_key
# The cheapest key exchange: hundreds of worlds are played, and there is nobody between their hosts.
cat > etc/ssh/sshd_config <<END
KexAlgorithms curve25519-sha256
HostKey /etc/ssh/ssh_host_ed25519_key
PidFile none
UsePAM no
PermitRootLogin prohibit-password
MaxSessions 64
ForceCommand /etc/ssh/session
END
# What git would do by itself in the background, in the remotes and in clones, is most of a small push.
printf '[gc]\n\tauto = 0\n[maintenance]\n\tauto = false\n[receive]\n\tautogc = false\n' > etc/gitconfig
