set -eu
if [ ! -d /run/systemd/system ]; then
  echo "not read-only: without systemd nothing would keep it so over a reboot"; exit 0
fi
unit=$(systemd-escape --path --suffix=mount -- "$1"); file=/etc/systemd/system/$unit
if [ ! -d "$1" ]; then echo "it is not there"; exit 0; fi
if [ -e /etc/NIXOS ]; then
  # The units of such a host belong to its generation: that has one for this, and the mark is what it waits for.
  if ! systemctl cat ccorch-standby.service > /dev/null 2>&1; then
    echo "not read-only: the NixOS generation of this host has no ccorch-standby.service"; exit 0
  fi
  mkdir -p /var/lib/ccorch
  : > /var/lib/ccorch/closed; sync /var/lib/ccorch/closed
  systemctl start ccorch-standby.service
  if [ -w "$1" ]; then echo "it is mounted and still takes writes" >&2; exit 1; fi
  echo "read-only"; exit 0
fi
if [ ! -e "$file" ] && mountpoint --quiet -- "$1"; then
  # Its own mount has the unit of that name: a service lays the bind over it, whenever it is mounted.
  unit=ccorch-read-only@$(systemd-escape --path -- "$1").service
  file=/etc/systemd/system/ccorch-read-only@.service
  cat > "$file.new" <<'END'
# The rig runs elsewhere: this keeps its workspace here as it was. Taken back by ccorch rollback.
[Unit]
Description=ccorch standby: %f, read-only
RequiresMountsFor=%f

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=mount -o bind,ro,noexec -- %f %f
# A shell that somebody left in it does not keep it mounted.
ExecStop=umount --lazy -- %f

[Install]
WantedBy=multi-user.target %i.mount
END
  sync "$file.new"; mv -f "$file.new" "$file"
  systemctl daemon-reload
  systemctl enable --quiet "$unit"
  systemctl start "$unit"
  if [ -w "$1" ]; then echo "a read-only mount lies over it and it still takes writes" >&2; exit 1; fi
  echo "read-only"; exit 0
fi
cat > "$file.new" <<END
# The rig runs elsewhere: this keeps its workspace here as it was. Taken back by ccorch rollback.
[Unit]
Description=ccorch standby: $2, read-only

[Mount]
What=$2
Where=$2
Type=none
Options=bind,ro,noexec

[Install]
WantedBy=multi-user.target
END
sync "$file.new"; mv -f "$file.new" "$file"
systemctl daemon-reload
systemctl enable --quiet "$unit"
# Mounted already, a start would wait for the disk's device, which a container does not have.
systemctl is-active --quiet "$unit" || systemctl start "$unit"
if [ -w "$1" ]; then echo "it is mounted and still takes writes" >&2; exit 1; fi
echo "read-only"
