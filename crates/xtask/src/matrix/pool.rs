//! Worlds side by side, a few at a time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::Ground;
use crate::local::Inside;

/// Between two looks at worlds that take seconds.
const LOOK: Duration = Duration::from_millis(20);

/// One world's task.
#[derive(Debug, Clone)]
pub struct Job {
    /// What it is called in the output.
    pub name: String,
    /// What `xtask world` is told.
    pub args: Vec<String>,
    /// How it is run alone.
    pub again: String,
}

/// Runs jobs.
#[derive(Debug)]
pub struct Pool<'a> {
    /// Programs, template, outputs.
    pub ground: &'a Ground,
    /// So many at a time.
    pub jobs: usize,
}

impl Pool<'_> {
    /// Plays the stories of one kind (the verb that plays one by its name) whose names have `only` in them; how many failed.
    pub fn stories(&self, kind: &str, names: &[&str], only: &str) -> Result<usize> {
        let began = Instant::now();
        let template = self.ground.path("template");
        let job = |name: &str| Job {
            name: format!("{kind}-{name}"),
            args: [kind, "--template", &template, name].map(Into::into).to_vec(),
            again: format!("cargo xtask {kind} --only {name}"),
        };
        let wanted: Vec<Job> =
            names.iter().filter(|name| name.contains(only)).map(|name| job(name)).collect();
        if wanted.is_empty() {
            bail!("no story has `{only}` in its name");
        }
        let count = wanted.len();
        let failed = self.run(wanted)?;
        println!("{count} stories in {:.1} s, {failed} failed", began.elapsed().as_secs_f64());
        Ok(failed)
    }

    /// Runs all of them, prints what failed; how many did.
    pub fn run(&self, jobs: Vec<Job>) -> Result<usize> {
        let (total, mut waiting) = (jobs.len(), VecDeque::from(jobs));
        let mut running: Vec<(Job, Inside)> = Vec::new();
        let (mut over, mut failed) = (0, 0);
        while over < total {
            while running.len() < self.jobs {
                let Some(job) = waiting.pop_front() else { break };
                let args: Vec<&str> = job.args.iter().map(String::as_str).collect();
                let inside = Inside::start(&self.ground.tools, &args, self.ground.log(&job.name))?;
                running.push((job, inside));
            }
            let mut left = Vec::new();
            for (job, mut inside) in running {
                let Some((good, said)) = inside.over()? else {
                    left.push((job, inside));
                    continue;
                };
                over += 1;
                let took = inside.took().as_secs_f64();
                if good {
                    let last = said.lines().last().unwrap_or_default();
                    println!("ok     {:<44} {took:>6.1} s  {last}", job.name);
                } else {
                    failed += 1;
                    println!("FAILED {:<44} {took:>6.1} s", job.name);
                    said.lines().for_each(|line| println!("    {line}"));
                    println!("  again: {}", job.again);
                }
            }
            running = left;
            std::thread::sleep(LOOK);
        }
        Ok(failed)
    }
}
