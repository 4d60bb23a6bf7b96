# The rig file and what else lies in /etc/ccorch.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.ccorch;
  own = import ./lib.nix;
  plain = (pkgs.formats.json { }).generate "rig.json" cfg.rendered;
  isSet = set: builtins.any (value: value != null) (builtins.attrValues set);
in
{
  config = lib.mkIf cfg.enable {
    services.ccorch.settings = lib.mkMerge [
      { workspace.user = lib.mkDefault cfg.user; }
      (lib.mkIf (isSet cfg.proxy) {
        proxy = own.given {
          inherit (cfg.proxy)
            backend
            listen
            ssh
            identity
            check
            hosts
            ;
          host_key = cfg.proxy.hostKey;
        };
      })
      (lib.mkIf cfg.orchestrator.enable {
        loops.${cfg.orchestrator.name} = own.given {
          agent = "claude";
          role = "orchestrator";
          inherit (cfg.orchestrator) workdir prompt;
          remote_control = cfg.orchestrator.remoteControl;
        };
      })
    ];

    services.ccorch.rendered = own.hostRig cfg.settings;

    # The program that will read the file judges it, so that the module and the program cannot drift apart.
    services.ccorch.rigFile = pkgs.runCommand "ccorch-rig.json" { } ''
      ${cfg.package}/bin/ccorch check ${plain}
      cp ${plain} $out
    '';

    environment.etc = {
      "ccorch/rig.json".source = cfg.rigFile;
      "ccorch/host".text = "${cfg.host}\n";
      "ccorch/known_hosts".text = cfg.knownHosts;
    }
    // lib.optionalAttrs (cfg.settings ? secrets && cfg.secrets.file != null) {
      # Encrypted; the rig file names it.
      "ccorch/${cfg.rendered.secrets.file}".source = cfg.secrets.file;
    };

    # A driver on another machine calls git and rsync by ssh.
    environment.systemPackages = [
      cfg.package
      pkgs.git
      pkgs.rsync
    ]
    ++ cfg.agents;

    # A driver on another machine calls the program where every other host has it.
    systemd.tmpfiles.rules = [
      "d ${own.escape (cfg.settings.workspace.root or "/srv")} 0755 ${cfg.settings.workspace.user} - - -"
      "L+ ${own.installed} - - - - ${own.stable}"
    ];

    networking.firewall.allowedTCPPorts = lib.mkIf cfg.openFirewall config.services.openssh.ports;
  };
}
