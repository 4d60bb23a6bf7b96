# A pair of keys that guard nothing: nixpkgs' own for tests, or those of whoever runs a test elsewhere.
inputs: inputs.sshKeys or (import (inputs.pkgs.path + "/nixos/tests/ssh-keys.nix") inputs.pkgs)
