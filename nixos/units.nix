# The package's units, and the drop-ins that this machine adds to them.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.ccorch;
  own = import ./lib.nix;
  dropIns = own.dropIns cfg.settings;
  part = unit: section: dropIns.${unit}.${section} or { };

  # The same for every generation: a loop is not touched because something on its path was upgraded.
  systemPath = [
    "/run/wrappers"
    "/etc/profiles/per-user/${cfg.user}"
    "/run/current-system/sw"
  ];
  backend = cfg.settings.proxy.backend or "none";
  proxyPath = {
    tailscaled = [ pkgs.tailscale ];
    ssh = [ pkgs.openssh ];
  };
  secrets = lib.optional (cfg.secrets.items != { }) "ccorch-secrets.service";

  # A host that a cutover left as a standby has this mark (crates/ccorch/src/cutover/decommission/read-only.sh): over
  # reboots the rig is not watched there, and its workspace takes no writes. Whatever makes it active takes the mark away.
  standby = "/var/lib/ccorch/closed";
  unlessStandby.ConditionPathExists = "!${standby}";
  root = cfg.settings.workspace.root or "/srv";
  sw = "/run/current-system/sw/bin";

  loop = settings: {
    # A switch never touches an agent; the next start takes the new unit.
    restartIfChanged = false;
    stopIfChanged = false;
    path = systemPath;
    wants = secrets;
    after = secrets;
    # `wants` says which secrets there are here.
    unitConfig = builtins.removeAttrs (part "ccorch-loop@.service" "Unit") [ "Wants" ];
    serviceConfig = part "ccorch-loop@.service" "Service" // cfg.loops.serviceConfig // settings;
  };
  # An instance's overrides.conf takes the place of its template's (systemd.unit(5)), so it says all that one says.
  instance = name: settings: {
    name = "ccorch-loop@${name}";
    value = loop settings // {
      overrideStrategy = "asDropin";
    };
  };
in
{
  config = lib.mkIf cfg.enable (
    lib.mkMerge [
      { systemd.services = lib.mapAttrs' instance (own.loopsApart cfg.settings); }
      {
        systemd.packages = [ cfg.package ];

        # What the packaged unit says in [Install] is for `systemctl enable`, which nobody calls here.
        systemd.targets.ccorch.wantedBy = [ "multi-user.target" ];

        systemd.services."ccorch-loop@" = loop { };

        systemd.slices.ccorch-loops.sliceConfig = cfg.loops.sliceConfig;

        systemd.services.ccorch-supervisor = {
          # One restart in place of a stop and, after the activation, a start: nobody watches the loops in between.
          stopIfChanged = false;
          restartTriggers = [
            cfg.rigFile
            cfg.host
          ];
          path = systemPath;
          wants = secrets;
          # It starts loops as soon as it is up, and the proxy answers when its unit counts as started. Not ordered after
          # the lease: every start of a loop asks it, and a heartbeat that waits for its remote must not hold up a restart.
          after = secrets ++ [ "ccorch-proxy.service" ];
          unitConfig = unlessStandby;
          serviceConfig = part "ccorch-supervisor.service" "Service" // cfg.supervisor.serviceConfig;
        };

        # They end by themselves, and are started again by the timer and by the next boot.
        systemd.services.ccorch-lease = {
          restartIfChanged = false;
          path = systemPath;
          # Its key may be a secret, and its remote may be reached through the proxy.
          wants = secrets;
          after = secrets ++ [ "ccorch-proxy.service" ];
        };
        # Its deadline outlives a switch; the next renewal starts the new one.
        systemd.services.ccorch-term = {
          restartIfChanged = false;
          stopIfChanged = false;
          path = systemPath;
        };
        systemd.services.ccorch-confirm = {
          restartIfChanged = false;
          path = systemPath;
          unitConfig = unlessStandby;
        };
        systemd.services.ccorch-resume = {
          restartIfChanged = false;
          path = systemPath;
          unitConfig = unlessStandby;
          serviceConfig = part "ccorch-resume.service" "Service";
        };

        systemd.services.ccorch-proxy = {
          stopIfChanged = false;
          restartTriggers = [ (builtins.toJSON (cfg.settings.proxy or { })) ];
          path = proxyPath.${backend} or [ ];
          # What `after` names is waited for only when somebody asks for it.
          wants = secrets;
          after = secrets;
          unitConfig = unlessStandby;
          serviceConfig = part "ccorch-proxy.service" "Service";
        };

        # As what a cutover writes on other hosts, which has no place among the units of a generation.
        systemd.services.ccorch-standby = {
          description = "ccorch standby: the workspace, read-only";
          wantedBy = [ "multi-user.target" ];
          restartIfChanged = false;
          stopIfChanged = false;
          unitConfig.ConditionPathExists = standby;
          serviceConfig = {
            Type = "oneshot";
            RemainAfterExit = true;
            ExecStart = "${sw}/mount -o bind,ro,noexec ${own.escape root} ${own.escape root}";
            # A shell that somebody left in it does not keep it mounted.
            ExecStop = "${sw}/umount --lazy ${own.escape root}";
          };
        };

        systemd.timers.ccorch-lease.timerConfig = part "ccorch-lease.timer" "Timer";
      }
    ]
  );
}
