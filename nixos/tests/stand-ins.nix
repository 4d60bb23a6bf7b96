# The options of NixOS that the module sets, with no effect: for an evaluation with nixpkgs' lib alone.
{
  lib,
  system ? "x86_64-linux",
}:
let
  inherit (lib) mkOption types;
  any = types.attrsOf (types.anything or types.unspecified);
  option =
    type: default:
    mkOption {
      inherit type default;
    };
  # A unit: sections as NixOS calls them, all else free.
  unit =
    sections:
    option (types.attrsOf (
      types.submodule {
        freeformType = types.attrsOf (types.anything or types.unspecified);
        options = lib.genAttrs sections (_: option any { });
      }
    )) { };
  flag = option types.bool false;
  # A package that is not built. What is booted elsewhere finds programs there.
  program = name: {
    type = "derivation";
    inherit name;
    outPath = "/nix/store/00000000000000000000000000000000-${name}";
    meta = { };
  };
  json =
    (
      with types;
      nullOr (oneOf [
        bool
        int
        float
        str
        path
        (attrsOf json)
        (listOf json)
      ])
    )
    # It has itself in it, so its own description would not end.
    // {
      description = "JSON value";
    };
in
{
  pkgs = {
    formats.json = _: {
      type = json;
      generate = name: value: builtins.toFile name (builtins.toJSON value);
    };
    # Nothing is built: the text that would be run stands for the result.
    runCommand =
      name: _: text:
      builtins.toFile name (builtins.unsafeDiscardStringContext text);
    # sops-nix's manifest and program.
    callPackage =
      file: _:
      if lib.hasInfix "manifest" (toString file) then
        (
          _: _: _: _:
          "/manifest"
        )
      else
        "/sops";
    stdenv.hostPlatform = { inherit system; };
    writeTextFile = file: file;
    writeText = builtins.toFile;
    writeShellScript = name: text: builtins.toFile name "#!/bin/sh\n${text}";
  }
  // lib.genAttrs [
    "bash"
    "ccorch"
    "ccorch-agent-stub"
    "coreutils"
    "git"
    "jq"
    "openssh"
    "python3"
    "rsync"
    "tailscale"
    "util-linux"
  ] program;

  module.options = {
    assertions = option (types.listOf types.unspecified) [ ];
    environment.etc = option any { };
    environment.systemPackages = option (types.listOf types.package) [ ];
    networking.firewall.allowedTCPPorts = option (types.listOf types.port) [ ];
    networking.hostName = option types.str "nixos";
    nixpkgs.config = option types.attrs { };
    programs.ssh.extraConfig = option types.lines "";
    services.openssh = {
      enable = flag;
      extraConfig = option types.lines "";
      hostKeys = option (types.listOf types.attrs) [ ];
      ports = option (types.listOf types.port) [ 22 ];
    };
    specialisation = option (types.raw or types.unspecified) { };
    services.tailscale = {
      enable = flag;
      extraDaemonFlags = option (types.listOf types.str) [ ];
    };
    systemd = {
      packages = option (types.listOf types.package) [ ];
      services = unit [
        "unitConfig"
        "serviceConfig"
      ];
      slices = unit [ "sliceConfig" ];
      targets = unit [ "unitConfig" ];
      timers = unit [ "timerConfig" ];
      tmpfiles.rules = option (types.listOf types.str) [ ];
    };
    system = option any { };
    users.users = option any { };
    virtualisation.memorySize = option types.int 0;
  };

  # sops-nix, where that is not at hand either.
  sops.options.sops = {
    age.keyFile = option (types.nullOr types.str) null;
    secrets = option any { };
    useSystemdActivation = flag;
  };

  # What sops-nix itself sets and asks for.
  aroundSops.options = {
    boot = option any { };
    fileSystems = option any { };
    nixpkgs.overlays = option (types.listOf types.unspecified) [ ];
    warnings = option (types.listOf types.str) [ ];
  };
}
