# What nixpkgs' module of that name sets and a host has to answer.
{ lib, ... }:
{
  networking.useHostResolvConf = lib.mkDefault true;
  users.users.root.initialHashedPassword = lib.mkOverride 150 "";
}
