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
  paths = map lib.escapeShellArg (own.secretPaths cfg.secrets.items);
  # Without it the secrets are decrypted by the activation, before any unit.
  byUnit = lib.optional (config.sops.useSystemdActivation or false) "sops-install-secrets.service";
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
        serviceConfig = {
          Type = "oneshot";
          RemainAfterExit = true;
        };
        path = [ pkgs.coreutils ];
        script = ''
          status=0
          for file in ${toString paths}; do
            if ! test -s "$file"; then
              echo "the secret $file is not there" >&2
              status=1
            fi
          done
          if test "$status" != 0; then
            if test -s ${lib.escapeShellArg cfg.secrets.ageKeyFile}; then
              echo "hint: the age key ${cfg.secrets.ageKeyFile} may open nothing of ${baseNameOf (toString cfg.secrets.file)}: add its public key to .sops.yaml, run \`sops updatekeys\`, and switch again" >&2
            else
              echo "hint: put the age key at ${cfg.secrets.ageKeyFile} (owner root, mode 0600), then run \`/run/current-system/activate\` and start this unit again" >&2
            fi
          fi
          exit "$status"
        '';
      };
    }
  );
}
