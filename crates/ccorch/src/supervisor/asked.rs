//! Nudges that people ask for: each asker hears of the receipt, or why there is none.

use std::collections::VecDeque;
use std::sync::mpsc::Sender;

use anyhow::Result;
use ccorch_core::fleet::{Happens, Standing};
use ccorch_core::names::LoopName;
use ccorch_core::rig::Agent;

use super::control::{Evidence, Reply};
use super::deliver::Delivered;
use super::loops::Loops;

/// Askers of one loop who are remembered; the oldest of more have long stopped waiting.
const MOST: usize = 64;

/// Who waits for the receipts of one loop.
#[derive(Debug, Default)]
pub struct Asked {
    waiting: VecDeque<Asker>,
    /// How the latest try went wrong.
    trouble: String,
}

#[derive(Debug)]
struct Asker {
    id: String,
    text: String,
    reply: Sender<Reply>,
}

impl Loops {
    /// Somebody wants a loop told something.
    pub(super) fn ask(&mut self, name: &LoopName, id: String, text: String, reply: Sender<Reply>) {
        if !self.knows(name, &reply) {
            return;
        }
        if self.here.rig.loops.get(name).is_none_or(|spec| spec.agent != Agent::Claude) {
            let why = format!("loop {name} runs a plain program, which nothing can be told");
            let _ = reply.send(Reply::Failed { why });
            return;
        }
        match self.fleet.standing(name, &id, &text) {
            Standing::Received => drop(reply.send(Reply::Received { how: String::new() })),
            Standing::Other => {
                let why = format!("the id `{id}` stands for another text that loop {name} was told");
                let _ = reply.send(Reply::Failed { why });
            }
            Standing::Waiting { .. } => self.wait_for(name, Asker { id, text, reply }),
            Standing::Unknown => {
                self.wait_for(name, Asker { id: id.clone(), text: text.clone(), reply });
                self.tell(name, Happens::Ask { id, text });
                self.answer_askers(name, "too many nudges wait for it already");
            }
        }
    }

    fn wait_for(&mut self, name: &LoopName, asker: Asker) {
        if let Some(one) = self.all.get_mut(name) {
            one.asked.waiting.push_back(asker);
            while one.asked.waiting.len() > MOST {
                one.asked.waiting.pop_front();
            }
        }
    }

    /// How a try to deliver went.
    pub(super) fn delivered(&mut self, name: &LoopName, id: String, result: Result<Delivered>) {
        let mut how = "";
        let happens = match result {
            Ok(Delivered::Yes(word)) => {
                how = word;
                Happens::Received(id)
            }
            Ok(Delivered::InTheWay(what)) => Happens::NotReceived(id, what, false),
            Err(error) => Happens::NotReceived(id, format!("{error:#}"), true),
        };
        if let (Some(one), Happens::NotReceived(_, why, _)) = (self.all.get_mut(name), &happens) {
            one.asked.trouble.clone_from(why);
        }
        self.tell(name, happens);
        self.answer_askers(name, how);
    }

    /// Answers those whose nudge is no longer in line.
    fn answer_askers(&mut self, name: &LoopName, how: &str) {
        let Some(one) = self.all.get_mut(name) else { return };
        let trouble = one.asked.trouble.clone();
        let waiting = std::mem::take(&mut one.asked.waiting);
        let (mut still, mut over) = (VecDeque::new(), Vec::new());
        for asker in waiting {
            match self.fleet.standing(name, &asker.id, &asker.text) {
                Standing::Waiting { .. } => still.push_back(asker),
                Standing::Received => over.push((asker, Reply::Received { how: how.into() })),
                Standing::Unknown | Standing::Other => {
                    let why = if trouble.is_empty() { how } else { trouble.as_str() };
                    let why = format!("loop {name} was not told: {why}");
                    over.push((asker, Reply::Failed { why }));
                }
            }
        }
        if let Some(one) = self.all.get_mut(name) {
            one.asked.waiting = still;
        }
        for (asker, reply) in over {
            // Who asked may have gone.
            let _ = asker.reply.send(reply);
        }
    }

    /// What the verdict on a loop rests on.
    pub(super) fn evidence(&mut self, name: &LoopName, reply: &Sender<Reply>) {
        if !self.knows(name, reply) {
            return;
        }
        self.hears(name);
        let stall_after = self.stall_after(name);
        if let Some(one) = self.all.get(name) {
            let (hooks, seen_at) = (one.eyes.hooks(), one.eyes.seen_at());
            let _ = reply.send(Reply::Evidence(Evidence { hooks, seen_at, stall_after }));
        }
    }
}
