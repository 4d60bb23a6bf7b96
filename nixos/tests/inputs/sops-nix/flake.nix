{
  description = "a stand-in for sops-nix";

  outputs = _: {
    nixosModules.sops = ./modules/sops;
  };
}
