// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tasks: programs at CPL 3 with a user-interrupt state of their own, which is switched with them as a kernel has to do it.
//!
//! [`Task::resume`] runs one until it calls the kernel, is interrupted or raises an exception. While it is off the CPU,
//! SN in its UPID keeps posts quiet and its state lies in an XSAVE area; when it comes back, the UPID is directed here
//! again and what was posted meanwhile is picked up. For the first CPU only, with interrupts disabled at CPL 0.
//!
//! [`Defect`] puts one mistake into the switch, so that a test can show that it would notice it.

use core::arch::naked_asm;
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use uintr::{UittEntry, Upid, instructions, msr, ndst};

use super::apic::{Apic, FIXED, Target};
use super::tables::{KERNEL_CODE, KERNEL_DATA, Stack, USER_CODE, USER_DATA};
use super::trap::{Frame, FxState, trap_return};
use super::uintr::NOTIFICATION;
use super::xstate::{self, Area};

/// Software interrupt by which a task calls the kernel.
pub const CALL_VECTOR: u8 = 0x81;
/// Most tasks of the cell.
pub const MAX_TASKS: usize = 4;
/// What compiled code keeps below its stack pointer.
const RED_ZONE: u64 = 128;
/// RFLAGS of a task at its start: IF.
const USER_FLAGS: u64 = 0x202;
/// RFLAGS of the kernel: nothing.
const KERNEL_FLAGS: u64 = 0x2;
/// Number of RDI in [`Frame::registers`].
const RDI: usize = 9;

static STACKS: [Stack<{ 16 << 10 }>; MAX_TASKS] = [const { Stack::new() }; MAX_TASKS];
static HANDLER_STACKS: [Stack<4096>; MAX_TASKS] = [const { Stack::new() }; MAX_TASKS];

/// Where the registers of the task that runs are to be put; null while none runs.
static RUNNING: AtomicPtr<Frame> = AtomicPtr::new(core::ptr::null_mut());
/// RSP at which [`enter`] goes on.
static KERNEL_RSP: AtomicU64 = AtomicU64::new(0);
/// Number of the task that runs or ran last, for handlers.
pub static CURRENT: AtomicU64 = AtomicU64::new(0);

/// Why a task stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// An interrupt, which has been ended.
    Interrupt {
        /// Vector.
        vector: u8,
    },
    /// It called the kernel with this number; see [`call`].
    Call(u64),
    /// An exception.
    Exception {
        /// Vector.
        vector: u8,
        /// Error code.
        error_code: u64,
        /// RIP.
        rip: u64,
    },
}

/// How posts that came while a task was off the CPU are picked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PickUp {
    /// They are moved to UIRR.
    Register,
    /// The processor is told to look, by an interrupt with vector UINV to itself.
    SelfInterrupt,
}

/// A mistake in the switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// UIF is 0 after a switch.
    UifLost,
    /// UIF is 1 after a switch.
    UifSet,
    /// Pending vectors are gone after a switch.
    RequestsLost,
    /// UINV stays set while another state is loaded.
    UinvKept,
    /// Posts to a task that was off the CPU are not picked up.
    PostsIgnored,
    /// SN stays set.
    SuppressKept,
    /// NDST names another CPU.
    DestinationStale,
    /// NV is not UINV.
    VectorStale,
    /// Handler, UPID and UITT are those of the task before.
    StateKept,
    /// UITTSZ is not restored.
    UittCut,
}

/// The CPU and how tasks are switched there.
#[derive(Clone, Copy, Debug)]
pub struct Switch {
    apic: Apic,
    apic_id: u32,
    ndst: u32,
    /// How posts are picked up.
    pub pick_up: PickUp,
    /// The mistake, if one is wanted.
    pub defect: Option<Defect>,
}

impl Switch {
    /// Enables user interrupts on this CPU, for tasks.
    pub fn new(apic_id: u32, is_x2apic: bool, defect: Option<Defect>) -> Self {
        xstate::enable();
        Self {
            apic: Apic::new(is_x2apic),
            apic_id,
            ndst: ndst(apic_id, is_x2apic),
            pick_up: PickUp::Register,
            defect,
        }
    }

    /// Sends an interrupt to this CPU; it waits until a task runs.
    pub fn interrupt(&self, vector: u8) {
        self.apic
            .send(Target::Id(self.apic_id), FIXED | u32::from(vector));
    }
}

/// Where a handler's stack is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandlerStack {
    /// Below what is interrupted and its red zone.
    RedZone,
    /// A stack of its own (UISTACKADJUST bit 0).
    Own,
}

/// User interrupts of a task.
#[derive(Clone, Copy, Debug)]
pub struct Receiver {
    /// Where vectors for the task are posted. Its owner has reset it.
    pub upid: &'static Upid,
    /// The handler, which ends with UIRET and keeps all registers.
    pub handler: unsafe extern "C" fn() -> !,
    /// Its stack.
    pub stack: HandlerStack,
    /// What the task can send.
    pub uitt: &'static [UittEntry],
}

/// A program at CPL 3 with its registers.
#[derive(Clone, Debug)]
pub struct Task {
    number: usize,
    frame: Frame,
    area: Area,
    upid: &'static Upid,
    uitt_len: usize,
}

impl Task {
    /// Makes task number `number`, which is to begin in `program` with UIF clear. It uses that number's stack: a task
    /// before it with the same number does not run again.
    pub fn new(
        number: usize,
        program: extern "C" fn(u64) -> !,
        argument: u64,
        receiver: Receiver,
    ) -> Self {
        let mut registers = [0; 14];
        registers[RDI] = argument;
        let frame = Frame {
            fx: initial_fx_state(),
            registers,
            rax: 0,
            vector: 0,
            error_code: 0,
            rip: (program as *const ()).addr() as u64,
            cs: u64::from(USER_CODE),
            rflags: USER_FLAGS,
            // As after a call.
            rsp: STACKS[number].top() - 8,
            ss: u64::from(USER_DATA),
        };
        let stack_adjust = match receiver.stack {
            HandlerStack::RedZone => msr::stack_adjust(RED_ZONE),
            HandlerStack::Own => msr::absolute_stack(HANDLER_STACKS[number].top()),
        };
        let uitt_len = receiver.uitt.len();
        let tt = if uitt_len == 0 {
            None
        } else {
            msr::tt(receiver.uitt.as_ptr().addr() as u64)
        };
        let area = Area::new(
            (receiver.handler as *const ()).addr() as u64,
            stack_adjust.unwrap_or(0),
            msr::misc(NOTIFICATION, uitt_len.saturating_sub(1) as u32),
            (&raw const *receiver.upid).addr() as u64,
            tt.unwrap_or(0),
        );
        receiver.upid.set_suppress(true);
        Self {
            number,
            frame,
            area,
            upid: receiver.upid,
            uitt_len,
        }
    }

    /// Returns its registers.
    pub fn frame(&self) -> &Frame {
        &self.frame
    }

    /// Answers its call.
    pub fn answer(&mut self, answer: u64) {
        self.frame.rax = answer;
    }

    /// Returns its UIF.
    pub fn uif(&self) -> bool {
        self.area.uif()
    }

    /// Returns its UIRR.
    pub fn requests(&self) -> u64 {
        self.area.requests()
    }

    /// Tells whether vectors were posted that it does not know of yet.
    pub fn has_posts(&self) -> bool {
        self.upid.requests() != 0
    }

    /// Runs it until it stops.
    pub fn resume(&mut self, switch: &Switch) -> Stop {
        CURRENT.store(self.number as u64, Ordering::SeqCst);
        self.load(switch);
        RUNNING.store(&raw mut self.frame, Ordering::SeqCst);
        // SAFETY: the frame is that of a program of this image, at CPL 3, where all memory is mapped; `stop` writes
        // the frame again and nobody else refers to it meanwhile.
        unsafe { enter(&raw const self.frame) };
        self.save(switch);
        let vector = (self.frame.vector & 0xff) as u8;
        match vector {
            CALL_VECTOR => Stop::Call(self.frame.rax),
            0..32 => Stop::Exception {
                vector,
                error_code: self.frame.error_code,
                rip: self.frame.rip,
            },
            _ => Stop::Interrupt { vector },
        }
    }

    /// Brings the state onto the CPU.
    fn load(&mut self, switch: &Switch) {
        self.redirect(switch);
        match switch.defect {
            Some(Defect::UifSet) => self.area.set_uif(true),
            Some(Defect::UittCut) => self.area.cut_uitt(),
            _ => {}
        }
        let highest_index = self.uitt_len.saturating_sub(1) as u32;
        if switch.defect == Some(Defect::StateKept) {
            // SAFETY: the state of the task before is fit for this one as far as memory is concerned.
            unsafe { xstate::set_misc(NOTIFICATION, highest_index) };
        } else {
            // SAFETY: the task's own handler, UPID and UITT, which last for ever.
            unsafe { xstate::restore(&self.area) };
        }
        let looks = switch.pick_up == PickUp::SelfInterrupt;
        if looks && switch.defect != Some(Defect::PostsIgnored) && self.upid.requests() != 0 {
            switch.interrupt(NOTIFICATION);
        }
    }

    /// Lets posts notify this CPU, and picks up those that did not.
    fn redirect(&mut self, switch: &Switch) {
        let ndst = match switch.defect {
            Some(Defect::DestinationStale) => switch.ndst ^ ndst(1, switch.ndst < 0x100),
            _ => switch.ndst,
        };
        let nv = match switch.defect {
            Some(Defect::VectorStale) => NOTIFICATION - 1,
            _ => NOTIFICATION,
        };
        let posted = match (switch.defect, switch.pick_up) {
            (Some(Defect::SuppressKept), _) => self.upid.take_requests(),
            (Some(Defect::PostsIgnored), _) | (_, PickUp::SelfInterrupt) => {
                self.upid.init(nv, ndst);
                0
            }
            // What is posted from here on waits in the APIC until the task runs.
            (_, PickUp::Register) => self.upid.retarget(nv, ndst),
        };
        let pending = match switch.defect {
            Some(Defect::RequestsLost) => 0,
            _ => self.area.requests(),
        };
        self.area.set_requests(pending | posted);
    }

    /// Takes the state off the CPU.
    fn save(&mut self, switch: &Switch) {
        self.upid.set_suppress(true);
        // From here on a notification that is still under way is for nobody; its post is found at the next switch.
        xstate::save(&mut self.area);
        match switch.defect {
            // SAFETY: the UPID lasts for ever.
            Some(Defect::UinvKept) => unsafe { xstate::set_misc(NOTIFICATION, 0) },
            Some(Defect::UifLost) => self.area.set_uif(false),
            _ => {}
        }
    }
}

/// Leaves nothing of a task on the CPU.
pub fn clear() {
    xstate::clear();
}

/// Stops the task that runs, if `frame` is of one: its registers are kept, and [`Task::resume`] goes on.
pub fn stop(frame: &mut Frame) -> bool {
    if frame.cs != u64::from(USER_CODE) {
        return false;
    }
    let running = RUNNING.swap(core::ptr::null_mut(), Ordering::SeqCst);
    if running.is_null() {
        return false;
    }
    // SAFETY: `resume` waits for this with the frame of its task.
    unsafe { running.write(*frame) };
    frame.rip = (go_on as *const ()).addr() as u64;
    frame.cs = u64::from(KERNEL_CODE);
    frame.rflags = KERNEL_FLAGS;
    frame.rsp = KERNEL_RSP.load(Ordering::SeqCst);
    frame.ss = u64::from(KERNEL_DATA);
    true
}

/// Calls the kernel, at CPL 3, and returns what it answers ([`Task::answer`]).
pub fn call(code: u64) -> u64 {
    let answer;
    // SAFETY: the gate can be called at CPL 3, and the kernel returns with all other registers as they are.
    unsafe {
        core::arch::asm!("int {vector}", vector = const CALL_VECTOR, inout("rax") code => answer);
    }
    answer
}

/// Returns the address behind the stack of a task's handler, for [`HandlerStack::Own`].
pub fn handler_stack_top(number: usize) -> u64 {
    HANDLER_STACKS[number].top()
}

/// Returns UIF, at CPL 3.
pub fn is_enabled() -> bool {
    // SAFETY: tasks run with CR4.UINTR set.
    unsafe { instructions::testui() }
}

/// FCW and MXCSR as after FNINIT and at reset.
fn initial_fx_state() -> FxState {
    let mut fx = [0; 512];
    fx[0..2].copy_from_slice(&0x37f_u16.to_le_bytes());
    fx[24..28].copy_from_slice(&0x1f80_u32.to_le_bytes());
    FxState(fx)
}

/// Goes to CPL 3 as the frame says and returns when [`stop`] says so.
#[unsafe(naked)]
unsafe extern "C" fn enter(frame: *const Frame) {
    naked_asm!(
        "push rbx",
        "push rbp",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "mov [rip + {kernel_rsp}], rsp",
        "mov rsp, rdi",
        "jmp {trap_return}",
        kernel_rsp = sym KERNEL_RSP,
        trap_return = sym trap_return,
    )
}

/// End of [`enter`].
#[unsafe(naked)]
unsafe extern "C" fn go_on() {
    naked_asm!(
        "pop r15", "pop r14", "pop r13", "pop r12", "pop rbp", "pop rbx", "ret"
    )
}
