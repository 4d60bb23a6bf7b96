# A system container on an Incus server, with the smallest useful rig.
{
  imports = [
    ./image.nix
    ./configuration.nix
  ];
}
