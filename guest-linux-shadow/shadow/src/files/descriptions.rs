// SPDX-License-Identifier: MIT OR Apache-2.0
//! Open files, as `open(2)` calls them descriptions: each has one descriptor of this process, which no client sees.

use crate::syscall;

/// Most open files of all the client's processes.
pub const DESCRIPTIONS: usize = 4096;

/// Names a description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Id(u16);

impl Id {
    const NONE: Self = Self(u16::MAX);

    /// The root directory. 0 to 2 are this process's standard files.
    pub const ROOT: Self = Self(3);

    /// Returns this process's standard file `number`.
    pub fn standard(number: u16) -> Self {
        debug_assert!(number < 3);
        Self(number)
    }
}

/// What kind of file it is, as far as that matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Reading and writing never waits: a file or directory in memory.
    Memory,
    /// Reading or writing may wait.
    Other,
    /// This process's own: standard files and the root. Never closed.
    Own,
}

#[derive(Clone, Copy, Debug)]
struct Description {
    /// Descriptor of this process; -1 while there is none yet.
    fd: i32,
    kind: Kind,
    /// Descriptors and calls that use it.
    uses: u32,
    /// The next one on the list of those that are free, or to be closed.
    next: Id,
}

/// All open files. Every number in here is this program's own: the client's are checked by those who call.
#[derive(Debug)]
pub struct Descriptions {
    all: Box<[Description]>,
    free: Id,
    open: u64,
}

/// Files that nobody uses any more and that are to be closed, by whoever may block.
#[derive(Debug, PartialEq, Eq)]
pub struct Closing(Id);

impl Default for Closing {
    fn default() -> Self {
        Self(Id::NONE)
    }
}

impl Closing {
    /// Tells whether there is nothing to close.
    pub fn is_empty(&self) -> bool {
        self.0 == Id::NONE
    }
}

impl Descriptions {
    /// Starts with the standard files and the root, which is this process's descriptor `root`.
    pub fn new(root: i32) -> Self {
        let own = [0, 1, 2, root].map(|fd| Description {
            fd,
            kind: Kind::Own,
            uses: 1,
            next: Id::NONE,
        });
        let free = (own.len()..DESCRIPTIONS).map(|i| Description {
            fd: -1,
            kind: Kind::Other,
            uses: 0,
            next: match i + 1 {
                DESCRIPTIONS => Id::NONE,
                next => Id(next as u16),
            },
        });
        Self {
            free: Id(own.len() as u16),
            all: own.into_iter().chain(free).collect(),
            open: 0,
        }
    }

    /// Returns a description without a file yet, for the caller to use; ENFILE if there is no more.
    pub fn reserve(&mut self) -> Result<Id, i64> {
        let id = self.free;
        if id == Id::NONE {
            return Err(syscall::error(libc::ENFILE));
        }
        let description = &mut self.all[usize::from(id.0)];
        self.free = description.next;
        description.uses = 1;
        self.open += 1;
        Ok(id)
    }

    /// Gives a reserved one its file.
    pub fn fill(&mut self, id: Id, fd: i32, kind: Kind) {
        let description = &mut self.all[usize::from(id.0)];
        (description.fd, description.kind) = (fd, kind);
    }

    /// Counts one more use.
    pub fn share(&mut self, id: Id) {
        self.all[usize::from(id.0)].uses += 1;
    }

    /// Ends a use. What nobody uses any more comes to `closing`.
    pub fn end_use(&mut self, id: Id, closing: &mut Closing) {
        let description = &mut self.all[usize::from(id.0)];
        description.uses -= 1;
        if description.uses != 0 {
            return;
        }
        if description.fd >= 0 {
            description.next = closing.0;
            closing.0 = id;
        } else {
            self.release(id);
        }
    }

    /// Takes a file off the list; the caller closes the descriptor.
    pub fn next_to_close(&mut self, closing: &mut Closing) -> Option<i32> {
        let id = closing.0;
        if id == Id::NONE {
            return None;
        }
        let Description { fd, next, .. } = self.all[usize::from(id.0)];
        closing.0 = next;
        self.release(id);
        Some(fd)
    }

    fn release(&mut self, id: Id) {
        self.all[usize::from(id.0)] = Description {
            fd: -1,
            kind: Kind::Other,
            uses: 0,
            next: self.free,
        };
        self.free = id;
        self.open -= 1;
    }

    /// Returns the descriptor and the kind.
    pub fn file(&self, id: Id) -> (i32, Kind) {
        let Description { fd, kind, .. } = self.all[usize::from(id.0)];
        (fd, kind)
    }

    /// Returns how many there are, without this process's own.
    pub fn open(&self) -> u64 {
        self.open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_closed_after_its_last_use() {
        let mut descriptions = Descriptions::new(9);
        let mut closing = Closing::default();
        let id = descriptions.reserve().unwrap();
        descriptions.fill(id, 77, Kind::Other);
        descriptions.share(id);
        descriptions.end_use(id, &mut closing);
        assert!(closing.is_empty());
        assert_eq!(descriptions.file(id), (77, Kind::Other));
        descriptions.end_use(id, &mut closing);
        assert_eq!(descriptions.open(), 1);
        assert_eq!(descriptions.next_to_close(&mut closing), Some(77));
        assert_eq!(descriptions.next_to_close(&mut closing), None);
        assert_eq!(descriptions.open(), 0);
    }

    #[test]
    fn there_are_as_many_as_said_and_a_failed_open_gives_its_back() {
        let mut descriptions = Descriptions::new(9);
        let mut closing = Closing::default();
        let ids: Vec<Id> = std::iter::from_fn(|| descriptions.reserve().ok()).collect();
        assert_eq!(ids.len(), DESCRIPTIONS - 4);
        for id in ids {
            descriptions.end_use(id, &mut closing);
        }
        assert!(closing.is_empty());
        assert_eq!(descriptions.open(), 0);
        assert!(descriptions.reserve().is_ok());
    }
}
