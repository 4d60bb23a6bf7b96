# A private repository for one's own rig: one host that keeps it alive. Start with README.md.
{
  description = "my rig";

  inputs = {
    # Where your copy of ccorch is.
    ccorch.url = "git+https://git.example.org/ccorch";
    nixpkgs.follows = "ccorch/nixpkgs";
  };

  outputs =
    {
      self,
      ccorch,
      nixpkgs,
    }:
    let
      system = "x86_64-linux";
      pkgs = nixpkgs.legacyPackages.${system};
    in
    {
      nixosConfigurations.vm = nixpkgs.lib.nixosSystem {
        modules = [
          ccorch.nixosModules.default
          { nixpkgs.hostPlatform = system; }
          ./host.nix
        ];
      };

      # Both halves that `incus image import` takes.
      packages.${system}.image =
        let
          inherit (self.nixosConfigurations.vm.config.system) build;
        in
        pkgs.runCommand "rig-image" { } ''
          mkdir $out
          ln -s ${build.metadata}/tarball/*.tar.xz $out/metadata.tar.xz
          ln -s ${build.qemuImage}/*.qcow2 $out/disk.qcow2
        '';

      devShells.${system}.default = pkgs.mkShell {
        packages = [
          ccorch.packages.${system}.default
          pkgs.age
          pkgs.sops
        ];
      };
    };
}
