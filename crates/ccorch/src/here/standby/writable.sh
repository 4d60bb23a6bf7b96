set -eu
if [ ! -d /run/systemd/system ]; then exit 0; fi
if [ -e /var/lib/ccorch/closed ]; then
  systemctl stop ccorch-standby.service
  rm -f /var/lib/ccorch/closed
fi
over=/etc/systemd/system/ccorch-read-only@.service
if [ -e "$over" ]; then
  unit=ccorch-read-only@$(systemd-escape --path -- "$1").service
  systemctl disable --quiet "$unit"
  systemctl stop "$unit"
  rm -f "$over"
  systemctl daemon-reload
fi
unit=$(systemd-escape --path --suffix=mount -- "$1"); file=/etc/systemd/system/$unit
grep -qs '^Description=ccorch standby: ' "$file" || exit 0
systemctl disable --quiet "$unit"
if mountpoint --quiet -- "$1"; then systemctl stop "$unit" || umount --lazy -- "$1"; fi
rm -f "$file"
systemctl daemon-reload
