set -eu
# Without systemd there is nothing that a boot would start; the lease keeps everything down.
if [ ! -d /run/systemd/system ]; then exit 0; fi
# A NixOS host's units belong to its generation; there a mark that they look at keeps them down (see read-only.sh).
if [ ! -e /etc/NIXOS ]; then
  systemctl disable --quiet ccorch.target
  if [ "${1-}" = watch ]; then systemctl add-wants --quiet multi-user.target ccorch-lease.timer; fi
fi
# Nobody gives anything back to a host that has its own way to run the rig.
if [ "${1-}" = alone ]; then systemctl stop ccorch-lease.timer; fi
systemctl stop ccorch.target ccorch-proxy.service ccorch-supervisor.service ccorch-resume.service ccorch-confirm.service
