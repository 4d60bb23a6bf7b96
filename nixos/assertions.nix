# What has to hold on this machine; each sentence says what to do. What is wrong with the rig itself, `ccorch check` says.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.ccorch;
  own = import ./lib.nix;
  # nixpkgs itself is asked, which knows every way to allow one.
  allowed = p: !(p.meta.unfree or false) || (builtins.tryEval p.drvPath).success;
  problems = own.problems {
    rig = cfg.settings;
    facts = {
      users = builtins.attrNames config.users.users;
      inherit (cfg) host;
      inherit (pkgs.stdenv.hostPlatform) system;
      tailscaleFlags = lib.optionals config.services.tailscale.enable (
        config.services.tailscale.extraDaemonFlags or [ ]
      );
      ports = lib.optionals config.services.openssh.enable config.services.openssh.ports;
      secrets = cfg.secrets.items != { } || cfg.settings ? secrets;
      sopsFile = cfg.secrets.file != null && builtins.pathExists cfg.secrets.file;
      unfree = map lib.getName (builtins.filter (package: !allowed package) cfg.agents);
    };
  };
in
{
  config = lib.mkIf cfg.enable {
    assertions = map (sentence: {
      assertion = false;
      message = "services.ccorch: ${sentence}";
    }) problems;
  };
}
