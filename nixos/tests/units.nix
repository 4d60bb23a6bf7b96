# The text of the package's units for a program, and for the path of whatever is kept longer.
{ program, lasting }:
(import ../lib.nix).units {
  folder = ../../crates/ccorch/units;
  inherit program lasting;
}
