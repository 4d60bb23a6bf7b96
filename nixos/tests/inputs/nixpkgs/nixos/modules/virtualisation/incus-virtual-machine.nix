# What nixpkgs' module of that name sets and a host has to answer.
{ lib, ... }:
{
  users.users.root.initialHashedPassword = lib.mkOverride 150 "";
}
