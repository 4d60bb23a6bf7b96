//! What comes up, by its time; what comes at one moment comes in the order in which it was said.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::world::Up;
use crate::fleet::Millis;

#[derive(Default)]
pub(super) struct Queue {
    /// Times, serial numbers and places of what is to come.
    times: BinaryHeap<Reverse<(Millis, u64, usize)>>,
    places: Vec<Option<Up>>,
    free: Vec<usize>,
    serial: u64,
}

impl Queue {
    /// When the next of them comes.
    pub fn next(&self) -> Option<Millis> {
        self.times.peek().map(|Reverse((at, ..))| *at)
    }

    pub fn push(&mut self, at: Millis, up: Up) {
        self.serial += 1;
        let place = self.free.pop().unwrap_or(self.places.len());
        if place == self.places.len() {
            self.places.push(Some(up));
        } else {
            self.places[place] = Some(up);
        }
        self.times.push(Reverse((at, self.serial, place)));
    }

    pub fn pop(&mut self) -> Option<Up> {
        let Reverse((.., place)) = self.times.pop()?;
        self.free.push(place);
        self.places[place].take()
    }
}
