# The units of a configuration as text: NixOS's own rendering where there is one, else what it would be.
{ lib }:
let
  own = import ../lib.nix;

  # What NixOS puts on every service's path, after what the service asks for.
  always = [
    "coreutils"
    "findutils"
    "gnugrep"
    "gnused"
    "systemd"
  ];
  standIn = name: "/nix/store/00000000000000000000000000000000-${name}";
  path =
    one:
    builtins.concatStringsSep ":" (
      map (place: "${toString place}/bin") ((one.path or [ ]) ++ map standIn always)
    );

  present = lib.filterAttrs (_: value: value != [ ] && value != "");
  section =
    name: settings:
    lib.optionalAttrs (settings != { }) {
      ${name} = settings;
    };
  unit =
    one:
    section "Unit" (
      (one.unitConfig or { })
      // present {
        Description = one.description or "";
        Wants = toString (one.wants or [ ]);
        After = toString (one.after or [ ]);
        Before = toString (one.before or [ ]);
        # NixOS has them in a file whose name is a hash of them.
        X-Restart-Triggers = lib.optionals (one.restartTriggers or [ ] != [ ]) [
          (builtins.hashString "sha256" (toString one.restartTriggers))
        ];
      }
    );
  start = name: "${standIn "unit-script-${name}-start"}/bin/${name}-start";
  texts =
    kind: make: set:
    lib.mapAttrs' (name: one: lib.nameValuePair "${name}.${kind}" (make name one)) set;
  plain =
    name: key: _: one:
    own.toText (unit one // section name (one.${key} or { }));
  service =
    name: one:
    own.toText (
      unit one
      // {
        Service = {
          Environment = "\"PATH=${path one}\"";
        }
        // lib.optionalAttrs (!(one.restartIfChanged or true)) { X-RestartIfChanged = "false"; }
        // lib.optionalAttrs (!(one.stopIfChanged or true)) { X-StopIfChanged = "false"; }
        // lib.optionalAttrs (one ? script) { ExecStart = start name; }
        // (one.serviceConfig or { });
      }
    );
in
config:
if config.systemd ? units then
  lib.mapAttrs (_: one: one.text) config.systemd.units
else
  texts "service" service config.systemd.services
  // texts "timer" (plain "Timer" "timerConfig") config.systemd.timers
  // texts "slice" (plain "Slice" "sliceConfig") config.systemd.slices
  // texts "target" (plain "Target" "none") config.systemd.targets
