# The rig: all that drives the loops. `ccorch schema` prints what can stand here.
{
  rig = "rig";
  workspace = {
    root = "/srv/rig";
    user = "loops";
    repositories.work = {
      url = "ssh://git@git.example.org/me/work.git";
      branch = "main";
    };
  };
  phases = [
    {
      id = "1";
      plan = "work/plans/1.md";
    }
  ];
  loops.builder = {
    agent = "claude";
    workdir = "work";
    prompt = "work/prompts/builder.md";
  };
  lease = {
    # A repository of its own, to which agents cannot push.
    remote = "ssh://git@git.example.org/me/rig-lease.git";
    identity = "/run/secrets/lease-key";
  };
  hosts = {
    pi.ssh = "pi@raspberrypi";
    vm.ssh = "root@vm";
  };
  cutover = {
    from = "pi";
    to = "vm";
  };
}
