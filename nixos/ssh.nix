# Machines that agents reach by ssh through the rig's proxy.
{ config, lib, ... }:
let
  cfg = config.services.ccorch;
  own = import ./lib.nix;
  byName = lib.genAttrs (cfg.settings.proxy.hosts or [ ]) (_: { });
in
{
  config = lib.mkIf cfg.enable {
    # Last: every line after a `Host` belongs to it.
    programs.ssh.extraConfig = lib.mkAfter (own.sshConfig (byName // own.given cfg.ssh.hosts));
  };
}
