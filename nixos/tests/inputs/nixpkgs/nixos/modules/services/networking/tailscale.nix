# Here nixpkgs declares `extraDaemonFlags`; the stand-in for it is with the others.
{ }
