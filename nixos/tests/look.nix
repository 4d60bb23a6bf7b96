# The script of ccorch-secrets.service for one secret and a key at these places.
{ path, key }:
(import ../lib.nix).lookForSecrets {
  items.testenv = { inherit path; };
  file = "rig.yaml";
  ageKeyFile = key;
}
