// SPDX-License-Identifier: MIT OR Apache-2.0
//! First-in, first-out queues of table entries, without memory of their own: an entry is in one queue at most, so a
//! table needs one link for each of its entries, whatever number of queues there is.

/// No entry.
const NONE: u8 = u8::MAX;

/// One link for each of the `N` entries of a table; `N` is at most 255.
#[derive(Clone, Debug)]
pub struct Links<const N: usize> {
    next: [u8; N],
}

/// A queue of entries of one table. All its functions want the links of that table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    first: u8,
    last: u8,
}

impl<const N: usize> Links<N> {
    const FITS: () = assert!(N <= NONE as usize);

    /// Returns links of entries that are in no queue.
    pub const fn new() -> Self {
        () = Self::FITS;
        Self { next: [NONE; N] }
    }
}

impl<const N: usize> Default for Links<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl Queue {
    /// The queue without entries.
    pub const EMPTY: Self = Self {
        first: NONE,
        last: NONE,
    };

    /// Tells whether there is no entry.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.first == NONE
    }

    /// Puts an entry, which is in no queue, behind all others.
    #[inline]
    pub fn push<const N: usize>(&mut self, links: &mut Links<N>, entry: usize) {
        links.next[entry] = NONE;
        let entry = entry as u8;
        if self.is_empty() {
            self.first = entry;
        } else {
            links.next[usize::from(self.last)] = entry;
        }
        self.last = entry;
    }

    /// Takes the entry out that is in for the longest time.
    #[inline]
    pub fn pop<const N: usize>(&mut self, links: &Links<N>) -> Option<usize> {
        if self.is_empty() {
            return None;
        }
        let entry = usize::from(self.first);
        self.first = links.next[entry];
        Some(entry)
    }

    /// Takes an entry out, wherever it is, and tells whether it was in.
    pub fn remove<const N: usize>(&mut self, links: &mut Links<N>, entry: usize) -> bool {
        let (mut before, mut at) = (NONE, self.first);
        while at != NONE {
            let next = links.next[usize::from(at)];
            if usize::from(at) == entry {
                match before {
                    NONE => self.first = next,
                    before => links.next[usize::from(before)] = next,
                }
                if self.last == at {
                    self.last = before;
                }
                return true;
            }
            (before, at) = (at, next);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::collections::VecDeque;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    const ENTRIES: usize = 6;

    /// A step on one of two queues.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        Push(usize),
        Pop,
        Remove(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (0..ENTRIES).prop_map(Step::Push),
            2 => Just(Step::Pop),
            1 => (0..ENTRIES).prop_map(Step::Remove),
        ]
    }

    proptest! {
        /// Two queues over one table do what two lists do.
        #[test]
        fn queues_are_lists(steps in prop::collection::vec((0..2_usize, step()), 0..60)) {
            let mut links = Links::<ENTRIES>::new();
            let mut queues = [Queue::EMPTY; 2];
            let mut lists = [VecDeque::new(), VecDeque::new()];
            for (which, step) in steps {
                match step {
                    // An entry is in one queue at most.
                    Step::Push(entry) if lists.iter().any(|list| list.contains(&entry)) => {}
                    Step::Push(entry) => {
                        queues[which].push(&mut links, entry);
                        lists[which].push_back(entry);
                    }
                    Step::Pop => {
                        prop_assert_eq!(queues[which].pop(&links), lists[which].pop_front());
                    }
                    Step::Remove(entry) => {
                        let place = lists[which].iter().position(|&other| other == entry);
                        prop_assert_eq!(queues[which].remove(&mut links, entry), place.is_some());
                        place.map(|place| lists[which].remove(place));
                    }
                }
                prop_assert_eq!(queues[which].is_empty(), lists[which].is_empty());
            }
            for (mut queue, list) in queues.into_iter().zip(lists) {
                let rest: Vec<usize> = core::iter::from_fn(|| queue.pop(&links)).collect();
                prop_assert_eq!(rest, Vec::from(list));
            }
        }
    }
}
