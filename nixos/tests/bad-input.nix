# Machines that are wrong in one way each: evaluating one says what is wrong and where, as NixOS would.
{ case }:
let
  tests = import ./evaluate.nix {
    system = if case == "unsupported-system" then "riscv64-linux" else "x86_64-linux";
  };
  inherit (tests.lib) mkForce;
  changes = {
    misspelt-option.services.ccorch.setings = { };
    misspelt-key.services.ccorch.settings.loops.builder.promt = "cc-ci/prompts/builder.md";
    port-twice = {
      services.ccorch.proxy.listen = "127.0.0.1:22";
      services.openssh.enable = true;
    };
    port-of-tailscale.services.tailscale = {
      enable = true;
      extraDaemonFlags = [ "--socks5-server=localhost:1055" ];
    };
    relative-path.services.ccorch.settings.workspace.root = mkForce "srv/cc-ci";
    no-sops-file.services.ccorch.secrets.file = mkForce ./not-there.yaml;
    unsupported-system = { };
  };
  config = tests.evaluate [
    ./rig.nix
    changes.${case}
  ];
  failed = builtins.filter (one: !one.assertion) config.assertions;
  said = builtins.concatStringsSep "\n" (map (one: "- ${one.message}") failed);
in
if failed == [ ] then config.services.ccorch.rendered else throw "Failed assertions:\n${said}"
