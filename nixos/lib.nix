# The module's decisions, on plain data: functions of `builtins` alone, so that they can be tested without nixpkgs.
rec {
  # The program by a path that survives upgrades and garbage collection, for whatever is kept longer than a generation.
  stable = "/run/current-system/sw/bin/ccorch";

  # Where the unit files name the program.
  installed = "/usr/local/bin/ccorch";

  # What it is built and tested for.
  systems = [
    "x86_64-linux"
    "aarch64-linux"
  ];

  optional = condition: value: if condition then [ value ] else [ ];

  optionalAttrs = condition: set: if condition then set else { };

  isAbsolute = path: builtins.match "/.*" path != null;

  # Keeps `%` from being read as a specifier (systemd.unit(5)).
  escape = builtins.replaceStrings [ "%" ] [ "%%" ];

  # --- units -------------------------------------------------------------------------------------------------------

  # The text of the units in `folder`, by name. A loop's unit outlives the generation that started it, and so does what
  # a condition asks; all else names `program` itself, so that an upgrade shows in the unit and restarts it.
  units =
    {
      folder,
      program,
      lasting ? stable,
    }:
    let
      put = path: builtins.replaceStrings [ installed ] [ path ];
      line =
        text:
        if builtins.match "Exec(Condition|Stop)=.*" text != null then
          put lasting text
        else
          put program text;
      lines = text: builtins.filter builtins.isString (builtins.split "\n" text);
      one =
        name:
        let
          text = builtins.readFile (folder + "/${name}");
        in
        if name == "ccorch-loop@.service" then
          put lasting text
        else
          builtins.concatStringsSep "\n" (map line (lines text));
      names = builtins.attrNames (builtins.readDir folder);
    in
    builtins.listToAttrs (
      map (name: {
        inherit name;
        value = one name;
      }) names
    );

  # Bytes in a size as the rig file writes it (`2GiB`, `512MB`).
  bytes =
    value:
    let
      parts = builtins.match "([0-9]+)([KMGT]iB|[kKMGT]B)" value;
      k = {
        KiB = 1024;
        MiB = 1024 * 1024;
        GiB = 1024 * 1024 * 1024;
        TiB = 1024 * 1024 * 1024 * 1024;
        kB = 1000;
        KB = 1000;
        MB = 1000 * 1000;
        GB = 1000 * 1000 * 1000;
        TB = 1000 * 1000 * 1000 * 1000;
      };
    in
    if parts == null then
      throw "services.ccorch: `${value}` is not a size; expected one like 2GiB or 512MiB"
    else
      builtins.fromJSON (builtins.head parts) * k.${builtins.elemAt parts 1};

  # What one loop's unit has of its own: who it is, what it may use, write and see.
  apart =
    rig: loop:
    let
      limits = loop.limits or { };
      root = rig.workspace.root;
      place =
        path:
        if path == "." then
          root
        else if isAbsolute path then
          path
        else
          "${root}/${path}";
      # Lists of paths are split at blanks.
      word = path: "\"${builtins.replaceStrings [ "\\" "\"" ] [ "\\\\" "\\\"" ] (escape (place path))}\"";
      words = paths: map word paths;
    in
    optionalAttrs (limits ? cpu_weight) { CPUWeight = limits.cpu_weight; }
    // optionalAttrs (limits ? memory_high) { MemoryHigh = bytes limits.memory_high; }
    // optionalAttrs (limits ? memory_max) { MemoryMax = bytes limits.memory_max; }
    // optionalAttrs (limits ? tasks) { TasksMax = limits.tasks; }
    // optionalAttrs ((loop.hidden or [ ]) != [ ]) { InaccessiblePaths = words loop.hidden; }
    // optionalAttrs ((loop.read_only or [ ]) != [ ]) { ReadOnlyPaths = words loop.read_only; }
    // optionalAttrs ((loop.user or rig.workspace.user) != rig.workspace.user) {
      UMask = "0002";
      User = escape loop.user;
    };

  # The loops whose unit has something of its own: name -> settings.
  loopsApart =
    rig:
    let
      all = builtins.mapAttrs (_: apart rig) (rig.loops or { });
    in
    builtins.removeAttrs all (builtins.filter (name: all.${name} == { }) (builtins.attrNames all));

  # What of the units depends on the rig: unit -> section -> key -> value or list of values. The same as `ccorch host
  # install` writes elsewhere.
  dropIns =
    rig:
    let
      root = escape rig.workspace.root;
      heartbeat = seconds (rig.lease.heartbeat or 60);
      identity = (rig.proxy or { }).identity or null;
      backend = (rig.proxy or { }).backend or "none";
    in
    {
      "ccorch-loop@.service" = {
        Unit = {
          RequiresMountsFor = root;
        }
        // optionalAttrs ((rig.secrets or null) != null) { Wants = "ccorch-secrets.service"; };
        Service.User = escape rig.workspace.user;
      };
      # The reboot log lies in the workspace.
      "ccorch-supervisor.service".Service.ReadWritePaths = "-${root}";
      "ccorch-resume.service".Service.ReadWritePaths = "-${root}";
    }
    // builtins.listToAttrs (
      builtins.attrValues (
        builtins.mapAttrs (name: settings: {
          name = "ccorch-loop@${name}.service";
          value.Service = settings;
        }) (loopsApart rig)
      )
    )
    // optionalAttrs (rig ? lease) {
      # The empty value clears what the unit file says, of every kind.
      "ccorch-lease.timer".Timer = {
        OnActiveSec = [
          ""
          heartbeat
        ];
        OnUnitInactiveSec = heartbeat;
      };
    }
    // optionalAttrs (backend == "ssh" && identity != null) {
      # Only root can read the key; the proxy runs as somebody else.
      "ccorch-proxy.service".Service.LoadCredential = "identity:${escape identity}";
    };

  # A drop-in as text.
  toText =
    sections:
    let
      assignment = key: value: "${key}=${toString value}\n";
      setting =
        key: value:
        if builtins.isList value then
          builtins.concatStringsSep "" (map (assignment key) value)
        else
          assignment key value;
      section =
        name: settings:
        "[${name}]\n"
        + builtins.concatStringsSep "" (builtins.attrValues (builtins.mapAttrs setting settings));
      # As people write them: [Unit] first.
      order = builtins.filter (name: sections ? ${name}) [
        "Unit"
        "Service"
        "Timer"
        "Slice"
      ];
    in
    builtins.concatStringsSep "\n" (map (name: section name sections.${name}) order);

  # A duration as the rig file writes it (`90s`, `5m`, `1h30m`), in seconds.
  seconds =
    value:
    let
      parts = builtins.match "(([0-9]+)d)? ?(([0-9]+)h)? ?(([0-9]+)m)? ?(([0-9]+)s)?" value;
      of =
        index: factor:
        let
          number = builtins.elemAt parts index;
        in
        if number == null then 0 else builtins.fromJSON number * factor;
    in
    if builtins.isInt value then
      value
    else if parts == null || value == "" then
      throw "services.ccorch: `${value}` is not a duration; expected one like 60s, 5m or 1h30m"
    else
      of 1 86400 + of 3 3600 + of 5 60 + of 7 1;

  # --- the rig -----------------------------------------------------------------------------------------------------

  # Removes what is null, at any depth: options that are not set.
  given =
    value:
    if builtins.isAttrs value then
      builtins.mapAttrs (_: given) (
        builtins.removeAttrs value (builtins.filter (key: value.${key} == null) (builtins.attrNames value))
      )
    else if builtins.isList value then
      map given value
    else
      value;

  # The rig as a host needs it: without what only makes sense on the operator's machine.
  hostRig =
    rig:
    let
      host =
        name: entry:
        {
          ssh = "root@${name}";
        }
        // builtins.removeAttrs entry [
          "identity"
          "provider"
          "incus"
          "qemu"
          "size"
        ];
      lease = builtins.removeAttrs rig.lease [ "key" ];
    in
    rig
    // {
      hosts = builtins.mapAttrs host (rig.hosts or { });
    }
    // optionalAttrs (rig ? lease) {
      lease =
        lease // optionalAttrs (rig.lease ? key && !(rig.lease ? identity)) { identity = leaseKey; };
    }
    // optionalAttrs (rig ? secrets) {
      secrets = rig.secrets // {
        file = "secrets/${baseNameOf rig.secrets.file}";
      };
    };

  # Where the key for the lease's remote is expected when the rig names one on the operator's machine.
  leaseKey = "/etc/ccorch/lease_key";

  # --- secrets -----------------------------------------------------------------------------------------------------

  # The rig's items as `sops.secrets`.
  sopsSecrets =
    {
      items,
      file,
      user,
    }:
    builtins.mapAttrs (
      name: item:
      {
        sopsFile = file;
        key = item.key or name;
        mode = item.mode or "0600";
        owner = item.owner or user;
        restartUnits = item.restartUnits or [ ];
      }
      // optionalAttrs (item ? path) { inherit (item) path; }
    ) (given items);

  # Where each item lies once it is decrypted.
  secretPaths =
    items:
    builtins.attrValues (
      builtins.mapAttrs (
        name: item: if (item.path or null) != null then item.path else "/run/secrets/${name}"
      ) items
    );

  # A script that says which secrets are not there and what to do; the argument is `services.ccorch.secrets`.
  lookForSecrets =
    {
      items,
      file,
      ageKeyFile,
    }:
    let
      quote = text: "'${builtins.replaceStrings [ "'" ] [ "'\\''" ] text}'";
    in
    ''
      status=0
      for path in ${builtins.concatStringsSep " " (map quote (secretPaths items))}; do
        if ! test -s "$path"; then
          echo "the secret $path is not there" >&2
          status=1
        fi
      done
      test "$status" = 0 && exit
      key=${quote ageKeyFile}
      if test -s "$key"; then
        echo "hint: the age key $key may open nothing of ${baseNameOf (toString file)}: add its public key to .sops.yaml, run \`sops updatekeys\`, and switch again" >&2
      else
        echo "hint: put the age key at $key (owner root, mode 0600), then run \`/run/current-system/activate\` and start this unit again" >&2
      fi
      exit 1
    '';

  # --- ssh ---------------------------------------------------------------------------------------------------------

  # ssh_config(5) entries for machines that are reached through the proxy.
  sshConfig =
    hosts:
    let
      line = key: value: if value == null then "" else "    ${key} ${toString value}\n";
      entry =
        name: host:
        "Host ${name}\n"
        + line "HostName" (host.hostName or null)
        + line "User" (host.user or null)
        + line "Port" (host.port or null)
        + line "IdentityFile" (host.identityFile or null)
        + "    ProxyCommand ${stable} connect %h %p\n";
    in
    builtins.concatStringsSep "" (builtins.attrValues (builtins.mapAttrs entry hosts));

  # --- what must hold ----------------------------------------------------------------------------------------------

  # The port of `ADDRESS:PORT`; null when there is none.
  port =
    address:
    let
      found = builtins.match ".*:([0-9]+)" address;
    in
    if found == null then null else builtins.head found;

  # Sentences that say what is wrong with a rig on a host, and what to do; `facts` is what the machine has.
  problems =
    { rig, facts }:
    let
      root = rig.workspace.root or "";
      user = rig.workspace.user or "";
      listen = (rig.proxy or { }).listen or "127.0.0.1:1055";
      proxied = (rig.proxy or { }).backend or "none" != "none";
      say = condition: sentence: optional (!condition) sentence;
      outside = workdir: isAbsolute workdir || builtins.match "(.*/)?\\.\\.(/.*)?" workdir != null;
      own = name: rig.loops.${name}.user or user;
      loop =
        name:
        say (own name == user || builtins.elem (own name) facts.users)
          "the loop `${name}` runs as `${own name}`, who does not exist; declare `users.users.${own name}` with the group of `${user}`"
        ++
          say (!outside (rig.loops.${name}.workdir or "."))
            "the loop `${name}` works in `${rig.loops.${name}.workdir}`, outside the workspace; give a path relative to ${root} without `..`";
      socks =
        flag:
        builtins.match "--(socks5-server|outbound-http-proxy-listen)=.*:${toString (port listen)}" flag
        != null;
    in
    say (builtins.elem facts.system systems) "ccorch is not made for ${facts.system}, but for ${builtins.concatStringsSep " and " systems}; see `nixpkgs.hostPlatform`"
    ++ say (builtins.elem user facts.users) "the user `${user}` does not exist; declare `users.users.${user}` (a normal user with a home), or name another in `services.ccorch.user`"
    ++ say (isAbsolute root) "the workspace `${root}` is not an absolute path; it has to be the same on every host, for example /srv/rig"
    ++ builtins.concatLists (map loop (builtins.attrNames (rig.loops or { })))
    ++
      say (rig.hosts or { } ? ${facts.host})
        "this machine is `${facts.host}`, which the rig does not know; add it to `services.ccorch.settings.hosts`, or set `services.ccorch.host` to the name it has there"
    ++
      say (!proxied || !(builtins.any socks facts.tailscaleFlags))
        "the proxy and `services.tailscale` both listen on port ${toString (port listen)}; give the rig another in `services.ccorch.proxy.listen`"
    ++
      say (!proxied || !(builtins.elem (port listen) (map toString facts.ports)))
        "the proxy's port ${toString (port listen)} is one of sshd's too; give the rig another in `services.ccorch.proxy.listen`"
    ++
      say (!facts.secrets || facts.sopsFile)
        "secrets are declared and their sops file is missing; name it in `services.ccorch.secrets.file`, and have it in git so that the flake sees it"
    ++ map (
      package:
      "the agent program ${package} is unfree and not allowed; add it to `nixpkgs.config.allowUnfreePredicate`"
    ) facts.unfree;
}
