# A stand-in for nixpkgs' lib, of `builtins` alone: as much of the module system as this project's module needs to be
# evaluated where nixpkgs is not at hand. Definitions are merged by priority and undeclared options refused; types are
# not looked at.
let
  inherit (builtins)
    all
    attrNames
    concatLists
    concatMap
    filter
    foldl'
    head
    isAttrs
    isFunction
    isList
    listToAttrs
    mapAttrs
    ;

  property = value: if isAttrs value then value._type or "" else "";
  isTree = value: isAttrs value && !(value ? _type) && !(value ? outPath);
  union = sets: attrNames (foldl' (one: other: one // other) { } sets);
  catAttrs = builtins.catAttrs;

  # A definition as sets without a property around them; the property is put around each attribute instead, so that
  # names can be known before conditions are.
  push =
    definition:
    {
      "if" = map (mapAttrs (_: lib.mkIf definition.condition)) (push definition.content);
      merge = concatMap push definition.contents;
      override = map (mapAttrs (_: lib.mkOverride definition.priority)) (push definition.content);
      order = map (mapAttrs (_: lib.mkOrder definition.priority)) (push definition.content);
    }
    .${property definition} or [ definition ];

  # A definition as values with their priorities and places; none where its condition does not hold.
  discharge =
    definition:
    {
      "if" = if definition.condition then discharge definition.content else [ ];
      merge = concatMap discharge definition.contents;
      override = map (found: found // { inherit (definition) priority; }) (discharge definition.content);
      order = map (found: found // { place = definition.priority; }) (discharge definition.content);
    }
    .${property definition} or [
      {
        priority = 100;
        place = 1000;
        value = definition;
      }
    ];

  strongest =
    found:
    let
      lowest = foldl' (least: one: if one.priority < least then one.priority else least) 10000 found;
    in
    catAttrs "value" (
      builtins.sort (one: other: one.place < other.place) (filter (one: one.priority == lowest) found)
    );

  merge =
    path: found:
    let
      values = strongest found;
      inner = name: concatMap discharge (catAttrs name values);
    in
    if all isTree values then
      listToAttrs (
        map (name: {
          inherit name;
          value = merge (path ++ [ name ]) (inner name);
        }) (filter (name: inner name != [ ]) (union values))
      )
    else if all isList values then
      concatLists values
    else if all (value: value == head values) values then
      head values
    else
      throw "The option `${builtins.concatStringsSep "." path}' has conflicting definition values";

  walk =
    path: tree: definitions:
    let
      pushed = concatMap push definitions;
      unknown = filter (name: !(tree ? ${name})) (union pushed);
      found = concatMap discharge definitions;
      name = builtins.concatStringsSep ".";
    in
    if property tree == "option" then
      if tree.readOnly or false && builtins.length found > 1 then
        throw "The option `${name path}' is read-only, but it's set multiple times"
      else if found != [ ] && (tree.type or null) == lib.types.raw then
        (head found).value
      else if found != [ ] && (tree.type or null) == lib.types.lines then
        builtins.concatStringsSep "\n" (strongest found)
      else if found != [ ] then
        merge path found
      else
        tree.default or (throw "The option `${name path}' is used but not defined")
    else if unknown != [ ] then
      throw "The option `${name (path ++ [ (head unknown) ])}' does not exist"
    else
      mapAttrs (key: inner: walk (path ++ [ key ]) inner (catAttrs key pushed)) tree;

  # Two trees of options, side by side.
  beside =
    one: other:
    one
    // mapAttrs (
      name: tree: if one ? ${name} && isTree tree then beside one.${name} tree else tree
    ) other;

  load =
    args: module:
    if isFunction module then
      load args (module args)
    else if isAttrs module then
      [ module ] ++ concatMap (load args) (module.imports or [ ])
    else
      load args (import module);

  lib = {
    optional = condition: value: if condition then [ value ] else [ ];
    optionals = condition: values: if condition then values else [ ];
    optionalAttrs = condition: set: if condition then set else { };
    genAttrs =
      names: f:
      listToAttrs (
        map (name: {
          inherit name;
          value = f name;
        }) names
      );
    inherit mapAttrs;
    mapAttrs' = f: set: listToAttrs (builtins.attrValues (mapAttrs f set));
    nameValuePair = name: value: { inherit name value; };
    filterAttrs =
      keep: set: builtins.removeAttrs set (filter (name: !(keep name set.${name})) (attrNames set));
    hasInfix = infix: text: builtins.replaceStrings [ infix ] [ "" ] text != text;
    hasPrefix = prefix: text: builtins.substring 0 (builtins.stringLength prefix) text == prefix;
    mapAttrsToList = f: set: builtins.attrValues (mapAttrs f set);
    concatStrings = builtins.concatStringsSep "";
    assertMsg = condition: message: condition || throw message;
    concatMapStrings = f: list: builtins.concatStringsSep "" (map f list);
    escapeShellArg = text: "'${builtins.replaceStrings [ "'" ] [ "'\\''" ] (toString text)}'";
    getName = package: package.pname or package.name;

    mkIf = condition: content: {
      _type = "if";
      inherit condition content;
    };
    mkMerge = contents: {
      _type = "merge";
      inherit contents;
    };
    mkOverride = priority: content: {
      _type = "override";
      inherit priority content;
    };
    mkForce = lib.mkOverride 50;
    mkOrder = priority: content: {
      _type = "order";
      inherit priority content;
    };
    mkAfter = lib.mkOrder 1500;
    mkDefault = lib.mkOverride 1000;
    literalExpression = text: { inherit text; };
    mkOption = option: option // { _type = "option"; };
    mkEnableOption =
      description:
      lib.mkOption {
        default = false;
        inherit description;
      };
    types =
      lib.genAttrs [
        "bool"
        "float"
        "int"
        "package"
        "path"
        "port"
        "str"
        "unspecified"
        "attrs"
      ] (_: null)
      // {
        raw = "as it is given";
        lines = "one text of all";
      }
      // lib.genAttrs [
        "attrsOf"
        "enum"
        "listOf"
        "nullOr"
        "oneOf"
        "strMatching"
        "submodule"
      ] (_: _: { });
  };
in
{
  inherit lib;

  # The configuration that these modules make.
  evaluate =
    args: modules:
    let
      loaded = concatMap (load (args // { inherit config lib options; })) modules;
      options = foldl' beside { } (catAttrs "options" loaded);
      isLong = module: module ? config || module ? options;
      config = walk [ ] options (
        map (
          module: if isLong module then module.config or { } else builtins.removeAttrs module [ "imports" ]
        ) loaded
      );
    in
    config;
}
