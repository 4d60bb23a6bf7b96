# The package: the program, its units, completions and manual pages.
{
  lib,
  rustPlatform,
  stdenv,
  installShellFiles,
  makeWrapper,
  git,
  openssh,
  rsync,
  sops,
  tmux,
  util-linux,
}:
let
  root = ../.;
  manifest = builtins.fromTOML (builtins.readFile (root + "/Cargo.toml"));
  units = (import ./lib.nix).units {
    folder = root + "/crates/ccorch/units";
    program = "${builtins.placeholder "out"}/bin/ccorch";
  };
  install = name: text: ''
    cat > "$out/lib/systemd/system/"${lib.escapeShellArg name} <<'END_OF_UNIT'
    ${text}END_OF_UNIT
  '';
in
rustPlatform.buildRustPackage {
  pname = "ccorch";
  inherit (manifest.workspace.package) version;

  src = lib.fileset.toSource {
    inherit root;
    fileset = lib.fileset.unions [
      (root + "/Cargo.toml")
      (root + "/Cargo.lock")
      (root + "/clippy.toml")
      (root + "/rustfmt.toml")
      (root + "/crates")
      (root + "/examples")
    ];
  };
  cargoLock.lockFile = root + "/Cargo.lock";

  cargoBuildFlags = [ "--package=ccorch" ];
  # The other crates' tests need what a build sandbox does not have: ssh servers, containers, a network.
  cargoTestFlags = [ "--package=ccorch-core" ];

  nativeBuildInputs = [
    installShellFiles
    makeWrapper
  ];

  # What it calls, after what the host has itself: on NixOS both are the same.
  postFixup = ''
    wrapProgram $out/bin/ccorch --suffix PATH : ${
      lib.makeBinPath [
        git
        openssh
        rsync
        sops
        tmux
        util-linux
      ]
    }
  '';

  postInstall = ''
    mkdir -p $out/lib/systemd/system
  ''
  + lib.concatStrings (lib.mapAttrsToList install units)
  + lib.optionalString (stdenv.buildPlatform.canExecute stdenv.hostPlatform) ''
    $out/bin/ccorch generate generated
    installManPage generated/man/*
    installShellCompletion generated/completions/*
  '';

  meta = {
    description = "Moves a rig of coding agents to a reboot-resilient host and keeps it alive there";
    license = with lib.licenses; [
      mit
      asl20
    ];
    platforms = (import ./lib.nix).systems;
    mainProgram = "ccorch";
  };
}
