# The NixOS module `services.ccorch`: a rig of coding agents that comes back after every reboot.
#
# | option                        | becomes                                      | which serves                    |
# | ----------------------------- | -------------------------------------------- | ------------------------------- |
# | `settings` and its shorthands | /etc/ccorch/rig.json, checked when built      | every unit                      |
# | `host`, `knownHosts`          | /etc/ccorch/host, /etc/ccorch/known_hosts     | the lease, ssh between hosts    |
# | `package`                     | units in `systemd.packages`, small drop-ins   | ccorch.target and what it wants |
# | `secrets.*`                   | `sops.secrets`, ccorch-secrets.service        | loops and supervisor            |
# | `ssh.hosts`, `proxy.hosts`    | entries in ssh_config                         | agents                          |
{
  imports = [
    ./options.nix
    ./rig.nix
    ./assertions.nix
    ./units.nix
    ./secrets.nix
    ./ssh.nix
  ];
}
