// SPDX-License-Identifier: MIT OR Apache-2.0
//! The differential test: the same pseudo-random steps on the processor and in the reference model (`uintr::model`),
//! with everything that software can see compared after each of them.
//!
//! This part is pure: it makes steps and the machine code for them, does them in the model, and compares. The image's
//! part does them on the processor ([`Subject`]).

mod generate;
mod program;
mod quirks;
mod session;
mod step;
mod twin;
mod visible;

pub use program::{FRAME_STRIDE, Program, XSAVE_STRIDE};
pub use session::{Mismatch, Session, Subject, Totals};
pub use step::{Level, MAX_OPERATIONS, Operation, Rights, Step, Table, UPIDS};
pub use twin::{FRAMES, MSRS, Machine};
pub use visible::{END, End, Event, Visible};
