// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is done to the processor and to the model.

use core::fmt;

use arrayvec::ArrayVec;

/// Most operations of one run of code.
pub const MAX_OPERATIONS: usize = 5;
/// Descriptors that are used: slots of the descriptor page.
pub const UPIDS: usize = 2;
/// Entries of the target table that are used.
pub const UITT_ENTRIES: usize = 6;

/// A step.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is no heap, and one step at a time"
)]
pub enum Step {
    /// Begins anew: everything as the first step found it.
    Reset,
    /// Writes an entry of the target table: its low and its high half.
    SetEntry(usize, u64, u64),
    /// Writes a descriptor: its first word and PIR.
    SetUpid(usize, u64, u64),
    /// Maps a table with these rights.
    SetRights(Table, Rights),
    /// Sets or clears CR4.UINTR.
    SetEnabled(bool),
    /// Sets the task priority.
    SetTaskPriority(u8),
    /// Sends an ordinary IPI with this vector to the own processor, interrupts disabled.
    SendSelf(u8),
    /// Runs code until it ends or faults.
    Run(Level, ArrayVec<Operation, MAX_OPERATIONS>),
}

/// A page of which the rights change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// The target table.
    Uitt,
    /// The descriptors.
    Upids,
    /// The page with UIRET's frames and a second stack.
    Spare,
}

/// Rights of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    /// None: not present.
    None,
    /// Reading.
    Read,
    /// Reading and writing.
    Write,
}

/// How code runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// At CPL 3, else at CPL 0.
    pub is_user: bool,
    /// RFLAGS.IF.
    pub interrupts: bool,
}

/// An operation of code. Each is followed by time for interrupts to arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Nothing but that time.
    Wait,
    /// SENDUIPI with this index.
    Senduipi(u64),
    /// STUI.
    Stui,
    /// CLUI.
    Clui,
    /// STUI and right behind it CLUI: what is pending is delivered between them.
    StuiClui,
    /// TESTUI.
    Testui,
    /// UIRET from a frame.
    Uiret(Frame),
    /// RDMSR.
    Rdmsr(u32),
    /// WRMSR.
    Wrmsr(u32, u64),
    /// XSAVES of component 14.
    Xsaves,
    /// XRSTORS of component 14 from this image.
    Xrstors([u64; 6]),
    /// XRSTORS that initializes component 14.
    Initialize,
}

/// What UIRET finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Address of the frame; none for a place of its own that can be read.
    pub address: Option<u64>,
    /// RIP image, which is not canonical; none for the instruction behind UIRET.
    pub rip: Option<u64>,
    /// RFLAGS image.
    pub rflags: u64,
    /// RSP image.
    pub rsp: u64,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reset => f.write_str("reset"),
            Self::SetEntry(index, low, high) => write!(f, "uitt[{index}]={low:#x},{high:#x}"),
            Self::SetUpid(number, control, pir) => {
                write!(f, "upid[{number}]={control:#x},{pir:#x}")
            }
            Self::SetRights(table, rights) => write!(f, "rights({table:?},{rights:?})"),
            Self::SetEnabled(enabled) => write!(f, "cr4.uintr={}", u8::from(*enabled)),
            Self::SetTaskPriority(priority) => write!(f, "tpr={priority:#x}"),
            Self::SendSelf(vector) => write!(f, "ipi({vector:#x})"),
            Self::Run(level, operations) => {
                let cpl = if level.is_user { 3 } else { 0 };
                write!(f, "cpl{cpl},if{}", u8::from(level.interrupts))?;
                operations
                    .iter()
                    .try_for_each(|operation| write!(f, ":{operation}"))
            }
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wait => f.write_str("wait"),
            Self::Senduipi(index) => write!(f, "senduipi({index:#x})"),
            Self::Stui => f.write_str("stui"),
            Self::Clui => f.write_str("clui"),
            Self::StuiClui => f.write_str("stui+clui"),
            Self::Testui => f.write_str("testui"),
            Self::Uiret(frame) => {
                f.write_str("uiret(")?;
                for (name, value) in [("at", frame.address), ("rip", frame.rip)] {
                    if let Some(value) = value {
                        write!(f, "{name}={value:#x},")?;
                    }
                }
                write!(f, "rflags={:#x},rsp={:#x})", frame.rflags, frame.rsp)
            }
            Self::Rdmsr(msr) => write!(f, "rdmsr({msr:#x})"),
            Self::Wrmsr(msr, value) => write!(f, "wrmsr({msr:#x},{value:#x})"),
            Self::Xsaves => f.write_str("xsaves"),
            Self::Xrstors(image) => {
                f.write_str("xrstors(")?;
                for (index, field) in image.iter().enumerate() {
                    let separator = if index == 0 { "" } else { "," };
                    write!(f, "{separator}{field:#x}")?;
                }
                f.write_str(")")
            }
            Self::Initialize => f.write_str("xrstors(init)"),
        }
    }
}
