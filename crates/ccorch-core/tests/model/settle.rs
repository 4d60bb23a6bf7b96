//! From some state on nothing more goes wrong: it must come to a good end.

use ccorch_core::cutover::{SideKind, Status, Step};

use crate::window::Said;
use crate::world::World;

/// What the hosts do by themselves.
fn hosts(world: &mut World) {
    for host in 0..2 {
        if world.is_giving(host) {
            world.alone(host);
        }
        world.beat(host, true);
        world.acquire(host, 3);
        world.start(host);
        world.confirm(host);
    }
}

fn calm(world: &World) -> World {
    let mut world = world.clone();
    world.reachable = true;
    world.links = [[true; 2]; 2];
    world.orphan = None;
    world.budget.claims = 9;
    world.budget.cutovers = 0;
    world.machine(1).run = None;
    world.machine(0).run = None;
    world
}

fn at_work(world: &World) -> usize {
    world.hosts.iter().filter(|host| host.runs).count()
}

/// One machine goes on with what there is, the hosts do what they do: in the end one host runs, no cutover is open, and that
/// machine can begin a new one. And where a target that failed is alone, it falls back without any machine.
pub fn settles(world: &World) -> Result<(), String> {
    alone(world)?;
    let mut world = calm(world);
    for _ in 0..200 {
        let before = world.clone();
        hosts(&mut world);
        if let Some(wrong) = world.wrong() {
            return Err(wrong);
        }
        if let Some(next) = world.drive(0).into_iter().next() {
            world = next;
        }
        if world == before {
            break;
        }
    }
    let open = world.arbiter.cutover.as_ref().is_some_and(|owner| owner.open);
    let running = at_work(&world);
    if open || running != 1 {
        return Err(format!("{running} hosts run, a cutover is open: {open}; it ends as {world:#?}"));
    }
    world.budget.cutovers = 9;
    match world.drive(0).into_iter().any(|next| next.budget.cutovers == 8) {
        true => Ok(()),
        false => Err(format!("no new cutover can begin; it ends as {world:#?}")),
    }
}

/// A target that failed and that no driver has taken back: the source is at work in the end, or nobody where its rig is its
/// owner's.
fn alone(world: &World) -> Result<(), String> {
    let failed = |host: &usize| {
        let here = &world.hosts[*host];
        let window = here.window.as_ref().filter(|w| matches!(w.verdict, Said::Failed | Said::StoodDown));
        let own = |journal: &str| {
            world.arbiter.cutover.as_ref().is_some_and(|owner| owner.open && owner.journal == journal)
        };
        let holds = world.arbiter.holder == crate::world::name(*host)
            && world.arbiter.state == ccorch_core::lease::Standing::Active;
        window.filter(|window| holds && own(&window.journal)).map(|window| window.from)
    };
    let Some(from) = (0..2).find_map(|host| failed(&host)) else { return Ok(()) };
    let kind = if world.is_legacy(from) { SideKind::Legacy } else { SideKind::Ccorch };
    let mut world = calm(world);
    for _ in 0..20 {
        hosts(&mut world);
        for host in 0..2 {
            world.alone(host);
        }
        if let Some(wrong) = world.wrong() {
            return Err(wrong);
        }
    }
    let good = match kind {
        SideKind::Ccorch => world.hosts[from].runs && at_work(&world) == 1,
        SideKind::Legacy => at_work(&world) == 0,
    };
    if good { Ok(()) } else { Err(format!("a failed target without a driver ends as {world:#?}")) }
}

/// An undisturbed cutover that has come to a step: begun by machine 0, and to its target's first sign of work at most.
pub fn come_to(first: &World, step: Step) -> World {
    let mut world = first.clone();
    for _ in 0..100 {
        let log = world.machines[0].log.as_ref();
        if log.is_some_and(|log| log.progress.status(step) != Status::Pending) {
            break;
        }
        for host in 0..2 {
            world.beat(host, true);
            world.acquire(host, 3);
            world.start(host);
        }
        if world.acknowledged == 0 && world.hosts[0].runs {
            world.host(0).work = 1;
            world.acknowledged = 1;
        }
        match world.drive(0).into_iter().next() {
            Some(next) => world = next,
            None => break,
        }
    }
    world
}

/// An undisturbed cutover gets there: the target runs, with all the work.
pub fn gets_there(first: &World) -> Result<World, String> {
    let mut world = first.clone();
    for _ in 0..100 {
        hosts(&mut world);
        if world.acknowledged == 0 && world.hosts[0].runs {
            world.host(0).work = 1;
            world.acknowledged = 1;
        }
        if let Some(wrong) = world.wrong() {
            return Err(wrong);
        }
        match world.drive(0).into_iter().next() {
            Some(next) => world = next,
            None => break,
        }
    }
    let there = world.hosts[1].runs && world.hosts[1].work == 1 && !world.hosts[0].runs;
    let closed = world.arbiter.cutover.as_ref().is_some_and(|owner| !owner.open);
    if there && closed { Ok(world) } else { Err(format!("it does not get there, but to {world:#?}")) }
}
