# Every host as a whole NixOS: the assertions that fail, and its rig. The image's own modules are left out where the
# tree of nixpkgs is too old to have them, and settings that came later are dropped there.
{
  nixpkgs,
  sopsNix ? null,
}:
let
  lib = import (nixpkgs + "/lib");
  standIns = import ./stand-ins.nix { inherit lib; };
  hosts = ../../hosts;
  modern = builtins.pathExists (nixpkgs + "/nixos/modules/virtualisation/incus-virtual-machine.nix");
  any = lib.mkOption { default = { }; };
  old = {
    options = {
      nix.settings = any;
      services.openssh.settings = any;
      services.cloud-init.network = any;
      users.allowNoPasswordLogin = any;
      services.tailscale.extraDaemonFlags = lib.mkOption { default = [ ]; };
    };
    config.fileSystems."/".device = "/dev/vda";
    # There networkd does not know it.
    config.networking.useDHCP = lib.mkForce false;
    config.users.users.root.openssh.authorizedKeys.keys = [ "ssh-ed25519 AAAA of a test" ];
    config.boot.loader.grub.device = "/dev/vda";
    config.nixpkgs.overlays = [
      (_: prev: {
        inherit (standIns.pkgs) formats;
        claude-code = prev.hello;
      })
    ];
  };
  evaluate =
    name:
    (import (nixpkgs + "/nixos/lib/eval-config.nix") {
      system = "x86_64-linux";
      modules = [
        ../.
        (if sopsNix == null then standIns.sops else sopsNix + "/modules/sops")
        (hosts + "/${name}/${if modern then "default.nix" else "configuration.nix"}")
        { services.ccorch.package = standIns.pkgs.ccorch; }
      ]
      ++ lib.optional (!modern) old;
    }).config;
  one =
    name: _:
    let
      config = evaluate name;
    in
    {
      failed = map (a: a.message) (builtins.filter (a: !a.assertion) config.assertions);
      rig = config.services.ccorch.rendered;
      units = lib.attrNames (lib.filterAttrs (unit: _: lib.hasPrefix "ccorch" unit) config.systemd.units);
    };
in
{
  hosts = builtins.mapAttrs one (builtins.readDir hosts);
  nixpkgs = lib.version;
  image = modern;
}
