# The options of `services.ccorch`.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption types;
  cfg = config.services.ccorch;
  # Named so before 2021.
  code = lib.literalExpression or lib.literalExample;
  nullOr =
    type: description: example:
    mkOption {
      type = types.nullOr type;
      default = null;
      inherit description example;
    };
  serviceConfig =
    description: example:
    mkOption {
      type = types.attrsOf types.unspecified;
      default = { };
      inherit description example;
    };
in
{
  options.services.ccorch = {
    enable = lib.mkEnableOption "ccorch, which keeps a rig of coding agents alive on this machine";

    package = mkOption {
      type = types.package;
      default = pkgs.ccorch or (pkgs.callPackage ./package.nix { });
      defaultText = code "pkgs.ccorch";
      example = code "inputs.ccorch.packages.x86_64-linux.ccorch";
      description = "The package that brings the program and its units.";
    };

    user = mkOption {
      type = types.str;
      default = "loops";
      example = "ci";
      description = "The user who owns the workspace and runs the loops; it has to be declared in `users.users`.";
    };

    host = mkOption {
      type = types.str;
      default = config.networking.hostName;
      defaultText = code "config.networking.hostName";
      example = "vm";
      description = "The name this machine has in the rig's `hosts`.";
    };

    settings = mkOption {
      inherit (pkgs.formats.json { }) type;
      default = { };
      example = {
        rig = "notes";
        workspace = {
          root = "/srv/notes";
          repositories.notes = {
            url = "ssh://git@git.example.org/me/notes.git";
            branch = "main";
          };
        };
        loops.writer = {
          agent = "claude";
          workdir = "notes";
          prompt = "notes/prompts/writer.md";
        };
      };
      description = ''
        The rig, in the schema of the rig file (`ccorch schema`). It becomes /etc/ccorch/rig.json, and
        `ccorch check` judges it when the system is built.
      '';
    };

    knownHosts = mkOption {
      type = types.lines;
      default = "";
      example = "git.example.org ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI...";
      description = "Host keys that ssh from this machine may trust for the lease and the proxy, in the format of known_hosts.";
    };

    agents = mkOption {
      type = types.listOf types.package;
      default = [ ];
      example = code "[ pkgs.claude-code ]";
      description = "The agents' programs and their tools, put on the system's path, which the loops have.";
    };

    openFirewall = mkOption {
      type = types.bool;
      default = false;
      example = true;
      description = "Whether to open sshd's ports, over which a cutover is driven. The proxy listens on the loopback only.";
    };

    proxy = {
      backend = nullOr (types.enum [
        "none"
        "tailscaled"
        "ssh"
      ]) "What provides the rig's SOCKS proxy; set `settings.proxy` or this." "tailscaled";
      listen = nullOr types.str "The loopback address and port it listens on." "127.0.0.1:1055";
      ssh = nullOr types.str "For the backend `ssh`, the destination." "jump@b1.example.org";
      hostKey =
        nullOr types.str "For the backend `ssh`, the destination's public host key."
          "ssh-ed25519 AAAA...";
      identity =
        nullOr types.str "For the backend `ssh`, the private key's path on this machine, readable by root."
          "/run/secrets/proxy-key";
      check =
        nullOr types.str "What must answer through the proxy for it to count as healthy."
          "gitea.example.ts.net:22";
      hosts = nullOr (types.listOf types.str) "Machines that get an ssh_config entry through the proxy." [
        "b1.example.ts.net"
      ];
    };

    supervisor.serviceConfig = serviceConfig "Settings added to `ccorch-supervisor.service`." {
      MemoryMax = "256M";
    };

    loops = {
      serviceConfig = serviceConfig "Settings added to every loop's unit." { MemoryMax = "1G"; };
      sliceConfig = serviceConfig "Settings of `ccorch-loops.slice`, which all loops share." {
        MemoryHigh = "1500M";
      };
    };

    orchestrator = {
      enable = lib.mkEnableOption "an interactive session above the loops";
      name = mkOption {
        type = types.str;
        default = "orchestrator";
        example = "foreman";
        description = "Its loop's name.";
      };
      workdir = mkOption {
        type = types.str;
        default = ".";
        example = "cc-ci";
        description = "Its working directory, relative to the workspace.";
      };
      prompt =
        nullOr types.str "The file whose text starts its first conversation."
          "prompts/orchestrator.md";
      remoteControl =
        nullOr types.str "The name under which it offers remote control."
          "autonomous-orchestrator";
    };

    secrets = {
      file = nullOr types.path "The sops file that holds the items." (code "./secrets/cc-ci.yaml");
      ageKeyFile = mkOption {
        type = types.str;
        default = cfg.settings.secrets.identity or "/var/lib/ccorch-secrets/age.key";
        defaultText = code ''config.services.ccorch.settings.secrets.identity or "/var/lib/ccorch-secrets/age.key"'';
        example = "/etc/ccorch/age.key";
        description = "The age identity on this machine: the only secret that has to be brought here.";
      };
      items = mkOption {
        default = cfg.settings.secrets.items or { };
        defaultText = code "config.services.ccorch.settings.secrets.items or { }";
        example.testenv.path = "/srv/cc-ci/.testenv";
        description = "The items of the sops file and the files they become.";
        type = types.attrsOf (
          types.submodule {
            options = {
              path =
                nullOr types.str "Where the file is to be; /run/secrets/NAME when not set."
                  "/srv/cc-ci/.testenv";
              key = nullOr types.str "The item's key in the sops file; its name when not set." "testenv";
              owner = nullOr types.str "Its owner; the loops' user when not set." "root";
              mode = mkOption {
                type = types.strMatching "0?[0-7]{3}";
                default = "0600";
                example = "0440";
                description = "Its mode in octal.";
              };
              restartUnits = mkOption {
                type = types.listOf types.str;
                default = [ ];
                example = [ "ccorch-proxy.service" ];
                description = "Units to restart when it changes. A loop named here is stopped and started: its agent leaves.";
              };
            };
          }
        );
      };
    };

    ssh.hosts = mkOption {
      default = { };
      example.b1 = {
        hostName = "b1.example.ts.net";
        user = "ci";
      };
      description = "Entries of ssh_config for machines that are reached through the proxy.";
      type = types.attrsOf (
        types.submodule {
          options = {
            hostName = nullOr types.str "The name to connect to." "b1.example.ts.net";
            user = nullOr types.str "The user there." "ci";
            port = nullOr types.port "The port there." 2222;
            identityFile = nullOr types.str "The private key's path." "/run/secrets/b1-key";
          };
        }
      );
    };

    rendered = mkOption {
      type = types.unspecified;
      readOnly = true;
      internal = true;
      description = "The rig as data, all shorthands in it.";
    };

    rigFile = mkOption {
      type = types.unspecified;
      readOnly = true;
      internal = true;
      description = "The rig file, which exists only when `ccorch check` finds it right.";
    };
  };
}
