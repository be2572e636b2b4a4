// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a cell may not do but may try: it gets an exception or an error and goes on.

use core::sync::atomic::{AtomicBool, Ordering};

use hv_abi::hypercall::{
    BOOT_INFO, CPU_GET_INFO, CPU_RUNNING, CPU_STAT_BASE, CPU_STATE, DEBUG_CONSOLE_PUTC, errno, stat,
};

use super::{Failure, expect};
use crate::arch::probe::{GENERAL_PROTECTION, Raised, UNDEFINED, raised_by};
use crate::arch::{denied, hypercall, user};
use crate::boot::Boot;

const UNKNOWN_CODE: u64 = 0x7777;
/// APIC ID of no CPU of the machine.
const NO_CPU: u64 = 200;

/// Whether VMCALL in user mode raised #UD.
static IS_UNDEFINED_AT_USER: AtomicBool = AtomicBool::new(false);

/// Runs all checks.
pub fn run(boot: &Boot) -> Result<(), Failure> {
    for (name, probe, wanted) in [
        ("vmxon", denied::vmxon as extern "C" fn(), UNDEFINED),
        ("vmread", denied::vmread, UNDEFINED),
        ("cr4-vmxe", denied::set_cr4_vmxe, GENERAL_PROTECTION),
        ("cr4-smxe", denied::set_cr4_smxe, GENERAL_PROTECTION),
        ("rdmsr-unknown", denied::rdmsr_unknown, GENERAL_PROTECTION),
        ("wrmsr-unknown", denied::wrmsr_unknown, GENERAL_PROTECTION),
        (
            "rdmsr-vmx-basic",
            denied::rdmsr_vmx_basic,
            GENERAL_PROTECTION,
        ),
    ] {
        check(name, raised_by(probe), wanted)?;
    }
    user::run(call_from_user_mode);
    let is_undefined = IS_UNDEFINED_AT_USER.load(Ordering::SeqCst);
    report!("check=vmcall-user undefined={is_undefined}");
    expect("vmcall-user", i64::from(is_undefined), 1)?;
    hypercalls(boot)
}

fn check(name: &'static str, raised: Raised, wanted: Raised) -> Result<(), Failure> {
    report!("check={name} raised={raised}");
    expect(name, i64::from(raised == wanted), 1)
}

extern "C" fn call_from_user_mode() {
    let is_undefined = raised_by(denied::vmcall) == UNDEFINED;
    IS_UNDEFINED_AT_USER.store(is_undefined, Ordering::SeqCst);
}

fn hypercalls(boot: &Boot) -> Result<(), Failure> {
    let own = u64::from(boot.first_cpu());
    let foreign = boot.options().number("foreign")?;
    let address = boot.options().number("address")?;
    let total = CPU_STAT_BASE + stat::TOTAL;
    for (name, (code, first, second), wanted) in [
        ("code", (UNKNOWN_CODE, 0, 0), errno::ENOSYS),
        ("cpu-foreign", (CPU_GET_INFO, foreign, total), errno::EPERM),
        ("cpu-none", (CPU_GET_INFO, NO_CPU, total), errno::ENOENT),
        (
            "cpu-wide",
            (CPU_GET_INFO, own | 1 << 32, total),
            errno::ENOENT,
        ),
        (
            "type",
            (CPU_GET_INFO, own, CPU_STAT_BASE + stat::COUNT),
            errno::EINVAL,
        ),
        ("type-low", (CPU_GET_INFO, own, 1), errno::EINVAL),
        ("state", (CPU_GET_INFO, own, CPU_STATE), CPU_RUNNING as i64),
        ("putc", (DEBUG_CONSOLE_PUTC, 0x100, 0), errno::EINVAL),
        ("page-foreign", (BOOT_INFO, address, 0), errno::EFAULT),
        (
            "page-odd",
            (BOOT_INFO, boot.info.memory[0].base + 8, 0),
            errno::EFAULT,
        ),
        (
            "page-wrap",
            (BOOT_INFO, 0xffff_ffff_ffff_f000, 0),
            errno::EFAULT,
        ),
    ] {
        let result = hypercall::call(code, first, second);
        report!("check={name} result={result}");
        expect(name, result, wanted)?;
    }
    for byte in "debug console speaks\n".bytes() {
        expect(
            "putc",
            hypercall::call(DEBUG_CONSOLE_PUTC, byte.into(), 0),
            0,
        )?;
    }
    Ok(())
}
