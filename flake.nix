{
  description = "ccorch: moves a rig of coding agents to a reboot-resilient host and keeps it alive there";

  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";
    sops-nix = {
      url = "github:Mic92/sops-nix";
      inputs.nixpkgs.follows = "nixpkgs";
    };
  };

  outputs =
    {
      self,
      nixpkgs,
      sops-nix,
    }:
    let
      inherit (nixpkgs) lib;
      inherit (import ./nixos/lib.nix) systems;
      pkgsFor =
        system:
        import nixpkgs {
          inherit system;
          overlays = [ self.overlays.default ];
        };
      eachSystem = f: lib.genAttrs systems (system: f system (pkgsFor system));
      host =
        system: folder:
        lib.nixosSystem {
          modules = [
            self.nixosModules.default
            { nixpkgs.hostPlatform = system; }
            folder
          ];
        };
    in
    {
      overlays.default = final: _: {
        ccorch = final.callPackage ./nixos/package.nix { };
        ccorch-agent-stub = final.callPackage ./nixos/agent-stub.nix { };
      };

      packages = eachSystem (
        system: pkgs:
        {
          inherit (pkgs) ccorch;
          default = pkgs.ccorch;
        }
        // lib.optionalAttrs (system == "x86_64-linux") {
          # Both halves that `incus image import` takes.
          incus-image =
            let
              inherit (self.nixosConfigurations.cc-ci-orchestrator.config.system) build;
            in
            pkgs.runCommand "ccorch-incus-image" { } ''
              mkdir $out
              ln -s ${build.metadata}/tarball/*.tar.xz $out/metadata.tar.xz
              ln -s ${build.qemuImage}/*.qcow2 $out/disk.qcow2
            '';
        }
      );

      apps = eachSystem (
        _: pkgs: rec {
          ccorch = {
            type = "app";
            program = "${pkgs.ccorch}/bin/ccorch";
            meta.description = "Moves a rig of coding agents and keeps it alive";
          };
          default = ccorch;
        }
      );

      nixosModules = rec {
        ccorch = ./nixos;
        # With what it stands on.
        default = {
          imports = [
            ccorch
            sops-nix.nixosModules.sops
            { nixpkgs.overlays = [ self.overlays.default ]; }
          ];
        };
      };

      nixosConfigurations = {
        cc-ci-orchestrator = host "x86_64-linux" ./hosts/cc-ci-orchestrator;
        example-container = host "x86_64-linux" ./hosts/example-container;
      };

      checks = eachSystem (_: pkgs: import ./checks { inherit self pkgs sops-nix; });

      devShells = eachSystem (
        _: pkgs: {
          default = pkgs.mkShell {
            inputsFrom = [ pkgs.ccorch ];
            packages = with pkgs; [
              age
              cargo
              clippy
              deadnix
              nixfmt
              rust-analyzer
              rustfmt
              sops
              ssh-to-age
            ];
          };
        }
      );

      formatter = eachSystem (_: pkgs: pkgs.nixfmt-tree);

      templates.default = {
        path = ./templates/rig;
        description = "A private repository for one's own rig";
      };
    };
}
