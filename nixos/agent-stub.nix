# The stand-in for an agent that the tests run, as the program `claude`.
{ ccorch }:
ccorch.overrideAttrs (_: {
  pname = "ccorch-agent-stub";
  cargoBuildFlags = [ "--package=agent-stub" ];
  doCheck = false;
  postFixup = "";
  postInstall = ''
    mv $out/bin/agent-stub $out/bin/claude
  '';
})
