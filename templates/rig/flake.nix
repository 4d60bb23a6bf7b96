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

      packages.${system}.image = self.nixosConfigurations.vm.config.system.build.qemuImage;

      devShells.${system}.default = pkgs.mkShell {
        packages = [
          ccorch.packages.${system}.default
          pkgs.age
          pkgs.sops
        ];
      };
    };
}
