# Its options, with no effect.
(import ../../../../stand-ins.nix { inherit (import ../../../../bare.nix) lib; }).sops
