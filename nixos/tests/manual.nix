# A manual page of the module's options, in Markdown, made of their own documentation; and the options that lack some.
{ nixpkgsLib }:
let
  lib = import nixpkgsLib;
  standIns = import ./stand-ins.nix { inherit lib; };
  evaluated = lib.evalModules {
    modules = [
      ../.
      standIns.module
      standIns.sops
      { _module.args = { inherit (standIns) pkgs; }; }
    ];
  };
  all = lib.optionAttrSetToDocList { inherit (evaluated.options.services) ccorch; };
  shown = builtins.filter (option: option.visible && !option.internal) all;
  literal =
    value:
    if builtins.isString value then
      value
    else
      value.text or (lib.generators.toPretty { multiline = false; } value);
  line = key: value: "- ${key}: `${literal value}`\n";
  entry =
    option:
    "## `${option.name}`\n\n${option.description}\n\n- type: ${option.type}\n"
    + lib.optionalString (option ? default) (line "default" option.default)
    + lib.optionalString (option ? example) (line "example" option.example);
in
{
  count = builtins.length shown;
  undocumented = map (option: option.name) (
    builtins.filter (option: (option.description or "") == "" || !(option ? example)) shown
  );
  page = "# services.ccorch\n\n" + builtins.concatStringsSep "\n" (map entry shown);
}
