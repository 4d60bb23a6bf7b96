{
  description = "a stand-in for nixpkgs, so that `nix flake show` can be asked where nixpkgs is not at hand";

  outputs = _: {
    legacyPackages.x86_64-linux = import ./. { overlays = [ ]; };
    lib = import ./lib // {
      nixosSystem = _: {
        config.system.build = {
          toplevel = import ./drv.nix "nixos-system";
          qemuImage = import ./drv.nix "nixos-image";
          metadata = import ./drv.nix "nixos-image-metadata";
        };
      };
    };
  };
}
