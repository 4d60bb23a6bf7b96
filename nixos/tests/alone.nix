# The tests of the module with `builtins` alone.
import ./module.nix (import ./evaluate.nix { })
