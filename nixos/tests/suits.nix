# Whether a lib of nixpkgs is young enough for the stand-ins and for the manual page: of 2022, or later.
{ nixpkgsLib }:
let
  lib = import nixpkgsLib;
in
{
  version = lib.version or "?";
  suits = lib ? literalExpression && lib.types ? raw;
}
