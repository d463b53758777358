//! Who waits, and whose turn it is: first come first served for one creator, each creator in turn.
//!
//! Plain and synchronous. Whoever is taken was the longest waiting one of the creator whose turn it was, so that a
//! creator who asks a hundred times makes nobody wait for more than one of them.

use std::collections::{HashMap, VecDeque};

use crate::domain::{Creator, InstanceId};

/// See the module's header. No creator in it waits with nothing.
#[derive(Debug)]
pub(super) struct Line<T> {
    /// Creators, the one whose turn it is first.
    turns: VecDeque<Creator>,
    waiting: HashMap<Creator, VecDeque<(InstanceId, T)>>,
    length: usize,
}

impl<T> Default for Line<T> {
    fn default() -> Self {
        Self { turns: VecDeque::new(), waiting: HashMap::new(), length: 0 }
    }
}

impl<T> Line<T> {
    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// Joins at the end of its creator's own.
    pub(super) fn join(&mut self, creator: Creator, id: InstanceId, what: T) {
        let own = self.waiting.entry(creator.clone()).or_default();
        if own.is_empty() {
            self.turns.push_back(creator);
        }
        own.push_back((id, what));
        self.length += 1;
    }

    /// Leaves, wherever it stands. False when it was not there (any more).
    pub(super) fn leave(&mut self, creator: &Creator, id: &InstanceId) -> bool {
        let Some(own) = self.waiting.get_mut(creator) else { return false };
        let before = own.len();
        own.retain(|(other, _)| other != id);
        let left = before - own.len();
        self.length -= left;
        if own.is_empty() {
            self.waiting.remove(creator);
            self.turns.retain(|other| other != creator);
        }
        left > 0
    }

    /// Serves the first in turn for whom `serve` has something, and tells what. A creator for whom it has nothing keeps
    /// its turn.
    pub(super) fn serve<R>(&mut self, mut serve: impl FnMut(&InstanceId, &T) -> Option<R>) -> Option<(T, R)> {
        for at in 0..self.turns.len() {
            let creator = self.turns.get(at)?.clone();
            let own = self.waiting.get_mut(&creator)?;
            let (id, what) = own.front()?;
            let Some(served) = serve(id, what) else { continue };
            let (_, what) = own.pop_front()?;
            self.length -= 1;
            self.turns.remove(at);
            if own.is_empty() {
                self.waiting.remove(&creator);
            } else {
                self.turns.push_back(creator);
            }
            return Some((what, served));
        }
        None
    }

    /// Sends away whoever would be served later than so many others.
    pub(super) fn keep_first(&mut self, most: usize) {
        while self.length > most {
            // The last in turn of those creators that need the most turns.
            let needs = |creator: &&Creator| self.waiting.get(*creator).map_or(0, VecDeque::len);
            let Some(creator) = self.turns.iter().max_by_key(needs).cloned() else { return };
            let Some(own) = self.waiting.get_mut(&creator) else { return };
            own.pop_back();
            self.length -= 1;
            if own.is_empty() {
                self.waiting.remove(&creator);
                self.turns.retain(|other| *other != creator);
            }
        }
    }

    /// Sends everybody away.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::samples::{creator, id};
    use proptest::prelude::*;

    fn served(line: &mut Line<u128>) -> Option<u128> {
        line.serve(|_, _| Some(())).map(|(what, ())| what)
    }

    #[test]
    fn creators_take_turns_and_each_is_served_in_its_own_order() {
        let mut line = Line::default();
        for (who, what) in [(1, 10), (1, 11), (1, 12), (2, 20), (3, 30), (2, 21)] {
            line.join(creator(who), id(what), what);
        }
        let order: Vec<_> = std::iter::from_fn(|| served(&mut line)).collect();
        assert_eq!(order, [10, 20, 30, 11, 21, 12]);
        assert_eq!(line.len(), 0);
    }

    #[test]
    fn who_cannot_be_served_keeps_its_turn_and_holds_up_nobody() {
        let mut line = Line::default();
        line.join(creator(1), id(1), 1);
        line.join(creator(2), id(2), 2);
        assert_eq!(line.serve(|_, what| (*what == 2).then_some(())).map(|(what, ())| what), Some(2));
        line.join(creator(2), id(3), 3);
        assert_eq!(served(&mut line), Some(1));
    }

    #[test]
    fn who_leaves_is_not_served() {
        let mut line = Line::default();
        line.join(creator(1), id(1), 1);
        line.join(creator(1), id(2), 2);
        assert!(line.leave(&creator(1), &id(1)));
        assert!(!line.leave(&creator(1), &id(1)));
        assert_eq!((served(&mut line), served(&mut line)), (Some(2), None));
    }

    proptest! {
        #[test]
        fn those_are_kept_who_would_be_served_first(whos in prop::collection::vec(0u8..4, 0..30), most in 0usize..30) {
            let line = || {
                let mut line = Line::default();
                for (what, who) in (0u128..).zip(&whos) {
                    line.join(creator(*who), id(what), what);
                }
                // Somebody's turn is over already.
                served(&mut line);
                line
            };
            let (mut all, mut kept) = (line(), line());
            kept.keep_first(most);
            let expected: Vec<_> = std::iter::from_fn(|| served(&mut all)).take(most).collect();
            prop_assert_eq!(kept.len(), expected.len());
            prop_assert_eq!(std::iter::from_fn(|| served(&mut kept)).collect::<Vec<_>>(), expected);
        }

        /// Everybody is served once or left, and nobody waits for more than one of each other creator at a time.
        #[test]
        fn nobody_is_forgotten_and_nobody_starves(steps in prop::collection::vec((0u8..4, 0u8..3), 1..80)) {
            let (mut line, mut next) = (Line::default(), 0u128);
            // In the order of their coming, with how many of each creator were served since they became the first.
            let mut model: Vec<(u8, u128)> = Vec::new();
            let mut served_since: HashMap<u8, HashMap<u8, u32>> = HashMap::new();
            for (who, step) in steps {
                match step {
                    0 => {
                        line.join(creator(who), id(next), (who, next));
                        model.push((who, next));
                        next += 1;
                    }
                    1 => if let Some(((by, what), ())) = line.serve(|_, _| Some(())) {
                        let first = model.iter().position(|(creator, _)| *creator == by).unwrap();
                        prop_assert_eq!(model.remove(first), (by, what));
                        served_since.remove(&by);
                        let waiting: std::collections::BTreeSet<u8> = model.iter().map(|(who, _)| *who).collect();
                        for other in waiting.into_iter().filter(|other| *other != by) {
                            let count = served_since.entry(other).or_default().entry(by).or_default();
                            *count += 1;
                            prop_assert!(*count <= 1, "{} was served twice before {}", by, other);
                        }
                    } else {
                        prop_assert!(model.is_empty());
                    },
                    _ => if let Some(at) = model.iter().position(|(creator, _)| *creator == who) {
                        let (_, what) = model.remove(at);
                        prop_assert!(line.leave(&creator(who), &id(what)));
                        served_since.remove(&who);
                    },
                }
                prop_assert_eq!(line.len(), model.len());
            }
        }
    }
}
