// SPDX-License-Identifier: MIT OR Apache-2.0
//! UINV in the VMCS.

use ::uintr::msr;

use super::{run_to_end, uinv};
use crate::bench::Bench;
use crate::case::{Case, Outcome, Where};
use crate::machine::run::{Code, Level};
use crate::machine::uintr::{HIGHEST_INDEX, NOTIFICATION, read_msr, write_msr};
use crate::vmm::Vmm;
use crate::vmm::control::{Controls, ENTRY_LOAD_UINV, EXIT_CLEAR_UINV};
use crate::vmm::exit::reason;
use crate::vmm::guest::{GUEST_UINV, Guest};

/// Vector other than [`NOTIFICATION`].
const OTHER: u8 = 0xed;

/// What the processor says of its controls, and what it checks.
pub const V01: Case = Case::new(
    "V01",
    "capabilities of user interrupts, load UINV",
    "SDM 3C, Checks on the Guest State Area",
    v01,
)
.place(Where::Bare);

fn v01(bench: &mut Bench) -> Outcome {
    const CONTROLS: [(&str, u32, u32); 4] = [
        ("IA32_VMX_EXIT_CTLS", 0x483, EXIT_CLEAR_UINV),
        ("IA32_VMX_TRUE_EXIT_CTLS", 0x48f, EXIT_CLEAR_UINV),
        ("IA32_VMX_ENTRY_CTLS", 0x484, ENTRY_LOAD_UINV),
        ("IA32_VMX_TRUE_ENTRY_CTLS", 0x490, ENTRY_LOAD_UINV),
    ];
    bench.set_up(0)?;
    let vmm = Vmm::start()?;
    for (name, number, control) in CONTROLS {
        let value = vmm.capability(number);
        ensure!(
            value >> 32 & u64::from(control) != 0 && value & u64::from(control) == 0,
            "{name}: expected control {control:#x} allowed to be 0 and 1, saw {value:#x}"
        );
    }
    let mut guest = Guest::new(&vmm, Level::Kernel, &Code::default())?;
    guest.set(Controls::Entry, ENTRY_LOAD_UINV)?;
    for reserved in 8..16 {
        guest.write(GUEST_UINV, 1 << reserved)?;
        let exit = guest.run()?;
        ensure!(
            exit.is_entry_failure && exit.reason == reason::INVALID_GUEST_STATE,
            "load UINV with bit {reserved} set: expected failed entry 33, saw {exit}"
        );
    }
    ensure!(
        uinv() == NOTIFICATION,
        "UINV after failed entries: expected {NOTIFICATION:#x}, saw {:#x}",
        uinv()
    );
    guest.write(GUEST_UINV, u64::from(NOTIFICATION))?;
    run_to_end(&mut guest, "load UINV with bits 15:8 clear")?;
    as_manual!(
        "load UINV and clear UINV may be 0 and 1; each of bits 15:8 set fails the entry, reason 33"
    )
}

/// Every exit saves it.
pub const V02: Case = Case::new(
    "V02",
    "guest UINV is saved, clear UINV",
    "SDM 3C, Saving Guest State",
    v02,
)
.place(Where::Bare);

fn v02(bench: &mut Bench) -> Outcome {
    const JUNK: u64 = 0xaa55;
    bench.set_up(0)?;
    let vmm = Vmm::start()?;
    let mut guest = Guest::new(&vmm, Level::Kernel, &Code::default())?;
    for (is_cleared, wanted) in [(false, NOTIFICATION), (true, 0)] {
        let when = if is_cleared {
            "clear UINV=1"
        } else {
            "clear UINV=0"
        };
        if is_cleared {
            guest.set(Controls::Exit, EXIT_CLEAR_UINV)?;
        }
        guest.restart(Level::Kernel, &Code::default())?;
        guest.write(GUEST_UINV, JUNK)?;
        run_to_end(&mut guest, when)?;
        let saved = guest.read(GUEST_UINV)?;
        ensure!(
            saved == u64::from(NOTIFICATION),
            "{when}: guest UINV: expected {NOTIFICATION:#x}, saw {saved:#x}"
        );
        let misc = read_msr(msr::IA32_UINTR_MISC);
        let wanted = u64::from(wanted) << 32 | u64::from(HIGHEST_INDEX);
        ensure!(
            misc == wanted,
            "{when}: IA32_UINTR_MISC: expected {wanted:#x}, saw {misc:#x}"
        );
    }
    as_manual!(
        "saved with both; IA32_UINTR_MISC[39:32] kept without clear UINV, 0 with it, UITTSZ kept"
    )
}

/// VM entry loads it.
pub const V03: Case =
    Case::new("V03", "load UINV", "SDM 3C, Loading Guest State", v03).place(Where::Bare);

fn v03(bench: &mut Bench) -> Outcome {
    /// RDMSR.
    const RDMSR: [u8; 2] = [0x0f, 0x32];
    bench.set_up(0)?;
    let vmm = Vmm::start()?;
    let code = Code::new(&RDMSR);
    let mut guest = Guest::new(&vmm, Level::Kernel, &code)?;
    for (is_loaded, wanted) in [(false, NOTIFICATION), (true, OTHER)] {
        if is_loaded {
            guest.set(Controls::Entry, ENTRY_LOAD_UINV)?;
        }
        guest.restart(Level::Kernel, &code)?;
        guest.registers.rcx = u64::from(msr::IA32_UINTR_MISC);
        guest.write(GUEST_UINV, u64::from(OTHER))?;
        run_to_end(&mut guest, "RDMSR")?;
        let seen = (guest.registers.rdx, guest.registers.rax);
        ensure!(
            seen == (u64::from(wanted), u64::from(HIGHEST_INDEX)),
            "load UINV {is_loaded}: expected UINV {wanted:#x} and UITTSZ {HIGHEST_INDEX:#x}, saw {seen:x?}"
        );
    }
    // What a case leaves behind, the next one's `reset` clears; the host's own value is the guest's by now.
    write_msr(msr::IA32_UINTR_MISC, 0);
    as_manual!("the guest reads the field's value with load UINV, its own without; UITTSZ kept")
}
