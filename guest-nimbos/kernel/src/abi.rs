// SPDX-License-Identifier: MIT OR Apache-2.0
//! System calls: the contract between the kernel and its programs.
//!
//! SYSCALL: number in RAX, arguments in RDI, RSI, RDX, R10, R8, R9, result in RAX (negative errno); all other registers but
//! RCX and R11 are kept. An unknown number gives -ENOSYS, a bad address -EFAULT. `docs/nimbos.md` has the table.

/// Numbers of the system calls. Those that are forwarded have Linux's numbers, arguments and results;
/// `forward_ring::syscall` has the table of them, here are those of which the kernel knows more.
pub mod number {
    /// `read(fd, buffer, length)`: forwarded.
    pub const READ: u64 = 0;
    /// `write(fd, buffer, length)`: forwarded.
    pub const WRITE: u64 = 1;
    /// `open(path, flags, mode)`: forwarded.
    pub const OPEN: u64 = 2;
    /// `close(fd)`: forwarded.
    pub const CLOSE: u64 = 3;
    /// `mmap(0, length, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)`: zeroed memory; see [`super::map`].
    pub const MMAP: u64 = 9;
    /// `munmap(address, length)`: gives back what one `mmap` gave, all of it.
    pub const MUNMAP: u64 = 11;
    /// `readv(fd, *iovec, count)`: forwarded as a read.
    pub const READV: u64 = 19;
    /// `writev(fd, *iovec, count)`: forwarded as a write.
    pub const WRITEV: u64 = 20;
    /// `yield()`.
    pub const YIELD: u64 = 24;
    /// `dup(fd)`: forwarded.
    pub const DUP: u64 = 32;
    /// `dup2(fd, new)`: forwarded.
    pub const DUP2: u64 = 33;
    /// `nanosleep(*time, *remaining)`; nothing ends a sleep early, so nothing is remaining.
    pub const NANOSLEEP: u64 = 35;
    /// `getpid()`.
    pub const GETPID: u64 = 39;
    /// `clone(stack)`: a thread that goes on behind the call, with result 0 and RSP = `stack`.
    pub const CLONE: u64 = 56;
    /// `fork()`.
    pub const FORK: u64 = 57;
    /// `exec(path, argv)`: `argv` is 0 or an array of strings that ends with 0.
    pub const EXEC: u64 = 59;
    /// `exit(status)`: ends this thread; the last one ends the process.
    pub const EXIT: u64 = 60;
    /// `waitpid(pid, *status, options)`.
    pub const WAITPID: u64 = 61;
    /// `kill(pid, signal)`.
    pub const KILL: u64 = 62;
    /// `fcntl(fd, command, value)`: forwarded.
    pub const FCNTL: u64 = 72;
    /// `get_time_ms()`: milliseconds since the kernel started.
    pub const GET_TIME_MS: u64 = 96;
    /// `getppid()`.
    pub const GETPPID: u64 = 110;
    /// `gettid()`.
    pub const GETTID: u64 = 186;
    /// `reboot(magic, magic2, command)`: Linux's numbers; see [`super::reboot`].
    pub const REBOOT: u64 = 169;
    /// `clock_gettime(clock, *timespec)`: time since the kernel started; the clock is ignored.
    pub const CLOCK_GETTIME: u64 = 228;
    /// `clock_nanosleep(clock, flags, *time, *remaining)`: the clock is ignored; see [`super::TIMER_ABSTIME`].
    pub const CLOCK_NANOSLEEP: u64 = 230;
    /// `exit_group(status)`: ends the process.
    pub const EXIT_GROUP: u64 = 231;
    /// `dup3(fd, new, flags)`: forwarded.
    pub const DUP3: u64 = 292;
    /// `getcpu(*cpu, *node)`: the number of the CPU on which the thread runs, and 0; an address may be 0.
    pub const GETCPU: u64 = 309;
    /// `uintr_register_sender(tid, vector)`: the right to post a user vector to a thread; returns the index for SENDUIPI.
    /// Error of both sides' calls: -ENOSYS where the processor has no user interrupts.
    pub const UINTR_REGISTER_SENDER: u64 = 333;
    /// `uintr_register_handler(handler, stack_adjust, flags)`: makes this thread a receiver; flags are 0 or
    /// [`super::UINTR_CHANNEL`]. UIF is 0 then: STUI allows delivery, and is with CLUI the mask of all vectors.
    pub const UINTR_REGISTER_HANDLER: u64 = 334;
    /// `uintr_unregister_sender(index)`: from then on SENDUIPI with this index faults.
    pub const UINTR_UNREGISTER_SENDER: u64 = 335;
    /// `uintr_unregister_handler()`: what is pending is lost; posts of those who still have an index go nowhere.
    pub const UINTR_UNREGISTER_HANDLER: u64 = 336;
    /// `uintr_wait(*timespec)`: waits until a user interrupt is pending, whatever UIF is, for the time given at most; 0: for
    /// ever. Call it with UIF = 0: a handler that runs before the call takes what it would wait for.
    pub const UINTR_WAIT: u64 = 337;
    /// `uintr_allow(vector, pid)`: lets a process register as sender of this vector to this thread: -1 every one, 0 none any
    /// more but the own one, which always may. Who has an index keeps it.
    pub const UINTR_ALLOW: u64 = 338;
    /// `forward_null()`: a forwarded call that does nothing.
    pub const FORWARD_NULL: u64 = 500;
    /// `counters(index)`: see [`super::counter`].
    pub const COUNTERS: u64 = 501;
    /// `sigalarm(ticks, handler, flags)`: after every so many [`super::TICKS_PER_SECOND`]ths of a second of CPU time of the process
    /// the handler is called, in whichever thread used them; it must not return but call `sigreturn`. While it runs, it is not
    /// called again. With [`super::ALARM_USER_INTERRUPT`] `handler` is a user vector, which is posted to this thread. `ticks` = 0:
    /// no more. A child has no alarm, nor has a new program.
    pub const SIGALARM: u64 = 510;
    /// `sigreturn()`: ends the handler; all registers are what they were.
    pub const SIGRETURN: u64 = 511;
    /// `ring_open(*info, vector)`: a ring of the channel for this process, in which it makes forwarded calls itself; see
    /// [`super::RingInfo`]. The thread must be a receiver with [`super::UINTR_CHANNEL`]: the server posts `vector` to it. -EBUSY
    /// if the process has one, or there is none; -EIO without a server.
    pub const RING_OPEN: u64 = 512;
    /// `ring_close()`: gives it back; calls under way get no answer. So does the end of the thread.
    pub const RING_CLOSE: u64 = 513;
    /// `process_list(*array, count)`: fills at most `count` entries of [`super::ProcessInfo`], returns how many processes
    /// there are.
    pub const PROCESS_LIST: u64 = 502;
}

/// Indices of the system call [`number::COUNTERS`].
pub mod counter {
    /// VM exits of the own cell's CPUs. The query is one itself for each of them.
    pub const VM_EXITS: u64 = 0;
    /// Notifications received from the channel's server.
    pub const RECEIVED: u64 = 1;
    /// Notifications sent to the channel's server.
    pub const SENT: u64 = 2;
    /// Page frames of the cell that are free.
    pub const FREE_FRAMES: u64 = 3;
    /// CPUs of the cell that run.
    pub const CPUS: u64 = 4;
    /// This plus n is the server's counter n.
    pub const SERVER_BASE: u64 = 16;
    /// VM exits of the server's cell.
    pub const SERVER_VM_EXITS: u64 = SERVER_BASE;
}

/// Arguments of the system call [`number::REBOOT`], Linux's numbers.
pub mod reboot {
    /// First argument.
    pub const MAGIC: u32 = 0xfee1_dead;
    /// Second argument: one of these.
    pub const MAGIC2: [u32; 4] = [672_274_793, 85_072_278, 369_367_448, 537_993_216];
    /// Third argument: the cell starts anew, at once. -EPERM where its configuration does not allow it.
    pub const RESTART: u32 = 0x0123_4567;
}

/// Flag of [`number::UINTR_REGISTER_HANDLER`]: the channel's server shall be able to post to this thread.
pub const UINTR_CHANNEL: u64 = 1;
/// Process of [`number::UINTR_ALLOW`] that stands for all.
pub const UINTR_EVERYBODY: u64 = u64::MAX;

/// Flag of [`number::SIGALARM`]: the alarm is a user interrupt.
pub const ALARM_USER_INTERRUPT: u64 = 1;
/// Ticks of the timer in a second.
pub const TICKS_PER_SECOND: u32 = 100;

/// Arguments of the system call [`number::MMAP`], Linux's numbers.
pub mod map {
    /// Protection: may be read. Nothing else but [`PROT_WRITE`] besides.
    pub const PROT_READ: u64 = 1;
    /// Protection: may be written.
    pub const PROT_WRITE: u64 = 2;
    /// Flag: the process's own.
    pub const MAP_PRIVATE: u64 = 2;
    /// Flag: no file behind it.
    pub const MAP_ANONYMOUS: u64 = 0x20;
}

/// Standard input: a file of the server, unless the console is init's own.
pub const STDIN: i32 = 0;
/// Standard output: likewise.
pub const STDOUT: i32 = 1;
/// Standard error: the cell's own console.
pub const STDERR: i32 = 2;

/// Flag of [`number::CLOCK_NANOSLEEP`]: the time is one of the clock, not a distance from now.
pub const TIMER_ABSTIME: u64 = 1;
/// Option of [`number::WAITPID`]: do not wait.
pub const WNOHANG: u64 = 1;
/// Highest number of a signal; each one but 0 ends a process.
pub const MAX_SIGNAL: u64 = 64;
/// The signal of ^C on the console.
pub const SIGINT: i32 = 2;
/// The signal that nothing can avoid.
pub const SIGKILL: i32 = 9;
/// The signal of an access that is not allowed; every fault counts as one.
pub const SIGSEGV: i32 = 11;
/// Status of a process that signal n has ended: this plus n. (Otherwise the low byte of what it told `exit`.)
pub const STATUS_SIGNAL: i32 = 128;

/// Linux's numbers for what went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i64)]
pub enum Errno {
    /// Not permitted.
    NotPermitted = -1,
    /// No such file.
    NoEntry = -2,
    /// No such process.
    NoProcess = -3,
    /// The channel does not work, or its other side is gone.
    Io = -5,
    /// Too many, or too long arguments; a program that is too large.
    TooBig = -7,
    /// Not a program.
    NotExecutable = -8,
    /// No such open file.
    BadFile = -9,
    /// No such child.
    NoChild = -10,
    /// A table is full.
    Again = -11,
    /// Not enough memory.
    NoMemory = -12,
    /// Not allowed by whom it concerns.
    Access = -13,
    /// An address outside the program's memory.
    Fault = -14,
    /// There is one already, or all places are taken.
    Busy = -16,
    /// Invalid argument.
    Invalid = -22,
    /// A path that does not end.
    NameTooLong = -36,
    /// No such system call.
    NoSystemCall = -38,
    /// Nothing came in time.
    TimedOut = -110,
}

/// Time as `clock_gettime` stores it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct TimeSpec {
    /// Whole seconds.
    pub seconds: u64,
    /// Nanoseconds of the current second.
    pub nanoseconds: u64,
}

impl TimeSpec {
    /// Size in memory.
    pub const LEN: usize = 16;

    /// Returns the time as it lies in memory.
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..8].copy_from_slice(&self.seconds.to_le_bytes());
        bytes[8..].copy_from_slice(&self.nanoseconds.to_le_bytes());
        bytes
    }

    /// Returns the time that a program passes, or `None` if it is negative or has too many nanoseconds.
    pub fn from_bytes(bytes: [u8; Self::LEN]) -> Option<Self> {
        let (seconds, nanoseconds) = bytes.split_at(8);
        let time = Self {
            seconds: u64::from_le_bytes(seconds.try_into().ok()?),
            nanoseconds: u64::from_le_bytes(nanoseconds.try_into().ok()?),
        };
        (time.seconds <= i64::MAX as u64 && time.nanoseconds < 1_000_000_000).then_some(time)
    }
}

/// What [`number::RING_OPEN`] gives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct RingInfo {
    /// Where the program sees the ring's region. It goes with the ring.
    pub address: u64,
    /// Size of the channel in bytes, from which the layout of the region follows. (`forward_ring::Geometry`)
    pub channel_size: u64,
    /// Index with which SENDUIPI announces requests to the server.
    pub index: u64,
}

impl RingInfo {
    /// Size in memory.
    pub const LEN: usize = size_of::<Self>();

    /// Returns it as it lies in memory.
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let words = [self.address, self.channel_size, self.index].map(u64::to_le_bytes);
        bytes.copy_from_slice(words.as_flattened());
        bytes
    }
}

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Activity {
    /// One of its threads runs, or could.
    Running = 0,
    /// All its threads wait.
    Waiting = 1,
    /// It has ended, and its parent has not asked for its status yet.
    Zombie = 2,
}

/// An entry of [`number::PROCESS_LIST`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct ProcessInfo {
    /// Number of the process.
    pub pid: u32,
    /// Number of its parent, 0 for init.
    pub parent: u32,
    /// An [`Activity`].
    pub activity: u32,
    /// Its threads.
    pub threads: u32,
    /// Ticks of the timer (1/100 s) that found it running.
    pub cpu_ticks: u64,
    /// Name of the program, padded with zeroes.
    pub name: [u8; Self::NAME_LEN],
}

impl ProcessInfo {
    /// Longest name with the zero behind it.
    pub const NAME_LEN: usize = 16;
    /// Size in memory.
    pub const LEN: usize = size_of::<Self>();

    /// Returns the entry as it lies in memory.
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let words = [self.pid, self.parent, self.activity, self.threads].map(u32::to_le_bytes);
        bytes[..16].copy_from_slice(words.as_flattened());
        bytes[16..24].copy_from_slice(&self.cpu_ticks.to_le_bytes());
        bytes[24..].copy_from_slice(&self.name);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_that_do_not_exist_are_refused() {
        let time = |seconds, nanoseconds| {
            TimeSpec {
                seconds,
                nanoseconds,
            }
            .to_bytes()
        };
        let good = TimeSpec {
            seconds: 3,
            nanoseconds: 999_999_999,
        };
        assert_eq!(TimeSpec::from_bytes(good.to_bytes()), Some(good));
        for bad in [
            time(0, 1_000_000_000),
            time(u64::MAX, 0),
            time(1 << 63, 0),
            time(0, u64::MAX),
        ] {
            assert_eq!(TimeSpec::from_bytes(bad), None);
        }
    }

    #[test]
    fn an_entry_lies_in_memory_as_its_fields_say() {
        let mut name = [0; ProcessInfo::NAME_LEN];
        name[..4].copy_from_slice(b"init");
        let info = ProcessInfo {
            pid: 1,
            parent: 2,
            activity: 3,
            threads: 4,
            cpu_ticks: 5,
            name,
        };
        let bytes = info.to_bytes();
        for (offset, value) in [(0, 1), (4, 2), (8, 3), (12, 4), (16, 5), (20, 0)] {
            assert_eq!(bytes[offset..][..4], u32::to_le_bytes(value));
        }
        assert_eq!(&bytes[24..], &name);
    }
}
