// SPDX-License-Identifier: MIT OR Apache-2.0
//! XSAVES and XRSTORS of state component 14.
//!
//! Enabling the component in IA32_XSS and finding it in the XSAVE area are not modelled: an operation is about this
//! component alone. CR4.UINTR does not matter. SDM 1, "UINTR State".

use super::fault::Fault;
use super::state::{Cpu, UserInterrupts};
use crate::msr::{
    IA32_UINTR_HANDLER, IA32_UINTR_MISC, IA32_UINTR_PD, IA32_UINTR_STACKADJUST, IA32_UINTR_TT,
};

/// Number of the state component.
pub const COMPONENT: u32 = 14;

/// Bit 63 of the third field: UIF. It is the reason why IA32_UINTR_MISC never has this bit.
const UIF: u64 = 1 << 63;

/// The component in memory, 48 bytes as six fields: UIHANDLER, UISTACKADJUST, IA32_UINTR_MISC with UIF in bit 63,
/// UPIDADDR, UIRR, IA32_UINTR_TT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Image(pub [u64; 6]);

impl Image {
    fn of(user: &UserInterrupts) -> Self {
        let misc = user.misc() | if user.uif { UIF } else { 0 };
        Self([
            user.handler,
            user.stack_adjust,
            misc,
            user.upid_address,
            user.uirr,
            user.tt,
        ])
    }
}

impl Cpu {
    /// Saves the component and clears UINV, so that UIRR does not change any more: a notification is an ordinary
    /// interrupt now, and its post stays in the UPID. Returns the image, or `None` if the component is in its initial
    /// state: XSTATE_BV tells that, and nothing is written. Raises #GP(0) above CPL 0.
    /// (SDM 1, "Operation of XSAVES"; "UINTR State")
    pub fn xsaves(&mut self) -> Result<Option<Image>, Fault> {
        self.require_cpl_0()?;
        let is_initial = self.user == UserInterrupts::default();
        let image = Image::of(&self.user);
        self.user.uinv = 0;
        Ok((!is_initial).then_some(image))
    }

    /// Loads the component, or initializes it to zeroes if there is no image (XSTATE_BV has its bit clear).
    ///
    /// Raises #GP(0) above CPL 0, while UINV is not 0, and for an image that WRMSR of the fields would refuse. The
    /// manual allows a faulting XRSTORS to load fields other than UINV, which it leaves 0; here none is loaded.
    /// (SDM 1, "Operation of XRSTORS"; "UINTR State")
    pub fn xrstors(&mut self, image: Option<&Image>) -> Result<(), Fault> {
        self.require_cpl_0()?;
        let checks_uinv = image.is_some() || self.options.init_checks_uinv;
        if checks_uinv && self.user.uinv != 0 {
            return Err(Fault::GP);
        }
        self.user = match image {
            Some(image) => self.parse(image)?,
            None => UserInterrupts::default(),
        };
        self.recognize();
        Ok(())
    }

    fn parse(&self, image: &Image) -> Result<UserInterrupts, Fault> {
        let [handler, stack_adjust, misc, upid_address, uirr, tt] = image.0;
        let uif = misc & UIF != 0;
        let misc = misc & !UIF;
        for (msr, value) in [
            (IA32_UINTR_HANDLER, handler),
            (IA32_UINTR_STACKADJUST, stack_adjust),
            (IA32_UINTR_MISC, misc),
            (IA32_UINTR_PD, upid_address),
            (IA32_UINTR_TT, tt),
        ] {
            self.check_msr(msr, value)?;
        }
        let mut user = UserInterrupts {
            uirr,
            uif,
            handler,
            stack_adjust,
            upid_address,
            tt,
            ..UserInterrupts::default()
        };
        user.set_misc(misc);
        Ok(user)
    }
}
