# The smallest useful rig, as plain data: one plain program that is kept running.
{
  rig = "notes";
  workspace = {
    root = "/srv/notes";
    user = "loops";
    repositories.notes = {
      url = "ssh://git@git.example.org/me/notes.git";
      branch = "main";
    };
  };
  phases = [
    {
      id = "collect";
      plan = "notes/plans/collect.md";
    }
  ];
  loops.sync = {
    agent = "command";
    workdir = ".";
    command = [
      "notes/bin/sync"
      "--every"
      "10m"
    ];
  };
  lease = {
    remote = "ssh://git@git.example.org/me/notes-lease.git";
    ref = "refs/heads/ccorch-lease/notes";
  };
  hosts = {
    desk.ssh = "root@desk.example.org";
    example-container.ssh = "root@example-container";
  };
  cutover = {
    from = "desk";
    to = "example-container";
  };
}
