# Secrets: sops-nix decrypts them, a unit of this module's own says whether they are there.
{
  config,
  lib,
  options,
  pkgs,
  ...
}:
let
  cfg = config.services.ccorch;
  own = import ./lib.nix;
  # Without it the secrets are decrypted by the activation, before any unit.
  byUnit = lib.optional (config.sops.useSystemdActivation or false) "sops-install-secrets.service";
  look = pkgs.writeShellScript "ccorch-secrets-look" (own.lookForSecrets cfg.secrets);
  missing = "services.ccorch.secrets needs sops-nix; import `sops-nix.nixosModules.sops` beside this module";
in
{
  config = lib.mkIf (cfg.enable && cfg.secrets.items != { }) (
    lib.optionalAttrs (options ? sops) {
      sops = {
        age.keyFile = lib.mkDefault cfg.secrets.ageKeyFile;
        secrets = lib.mkIf (cfg.secrets.file != null) (
          own.sopsSecrets {
            inherit (cfg.secrets) items file;
            user = cfg.settings.workspace.user;
          }
        );
      };
    }
    // {
      assertions = [
        {
          assertion = options ? sops;
          message = missing;
        }
      ];

      systemd.services.ccorch-secrets = {
        description = "ccorch secrets are decrypted";
        wants = byUnit;
        after = byUnit;
        before = [ "ccorch-supervisor.service" ];
        wantedBy = [ "ccorch.target" ];
        path = [ pkgs.coreutils ];
        # The packaged unit decrypts by itself, which is sops-nix's business here: the empty values clear that.
        serviceConfig = {
          ExecCondition = "";
          ExecStart = [
            ""
            "${look}"
          ];
        };
      };
    }
  );
}
