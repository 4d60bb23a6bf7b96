# The stand-in for nixpkgs' lib.
(import ../../../bare.nix).lib
