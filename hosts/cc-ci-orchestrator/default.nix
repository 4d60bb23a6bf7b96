# The machine that drives cc-ci: a small virtual machine on an Incus server.
{
  imports = [
    ./image.nix
    ./configuration.nix
  ];
}
