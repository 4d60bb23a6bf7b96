# The package's units are those that `ccorch host install` writes elsewhere, but for the program's path.
{ pkgs, ... }:
pkgs.runCommand "ccorch-units" { } ''
  for unit in ${../crates/ccorch/units}/*; do
    sed -e 's|${pkgs.ccorch}/bin/ccorch|/usr/local/bin/ccorch|' \
      -e 's|/run/current-system/sw/bin/ccorch|/usr/local/bin/ccorch|' \
      ${pkgs.ccorch}/lib/systemd/system/"$(basename "$unit")" | diff - "$unit"
  done
  test "$(ls ${pkgs.ccorch}/lib/systemd/system | wc -l)" = "$(ls ${../crates/ccorch/units} | wc -l)"
  touch $out
''
