// SPDX-License-Identifier: MIT OR Apache-2.0
//! The local APIC, as far as notifications need it: fixed, edge-triggered interrupts and the interrupt command
//! register.
//!
//! SDM 3A, "Advanced Programmable Interrupt Controller (APIC)".

/// Mode of the local APIC: the form of its ID, its ICR and of UPID.NDST.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ApicMode {
    /// xAPIC: IDs of 8 bits.
    XApic,
    /// x2APIC: IDs of 32 bits.
    X2Apic,
}

/// A set of interrupt vectors: IRR or ISR.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct VectorSet([u64; 4]);

impl VectorSet {
    /// Adds `vector`.
    pub fn insert(&mut self, vector: u8) {
        self.0[usize::from(vector / 64)] |= 1 << (vector % 64);
    }

    /// Removes `vector`.
    pub fn remove(&mut self, vector: u8) {
        self.0[usize::from(vector / 64)] &= !(1 << (vector % 64));
    }

    /// Tells whether `vector` is in the set.
    pub fn contains(&self, vector: u8) -> bool {
        self.0[usize::from(vector / 64)] & 1 << (vector % 64) != 0
    }

    /// Returns the highest vector of the set.
    pub fn highest(&self) -> Option<u8> {
        (0..4u8).rev().find_map(|index| {
            let word = self.0[usize::from(index)];
            (word != 0).then(|| index * 64 + 63 - word.leading_zeros() as u8)
        })
    }

    /// Returns the set as 256 bits, lowest vectors first.
    pub fn words(&self) -> [u64; 4] {
        self.0
    }

    /// Tells whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.0 == [0; 4]
    }
}

/// Destination of an interprocessor interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Destination {
    /// The processor with this APIC ID, if there is one.
    Physical(u32),
    /// All processors, with the sender.
    All,
}

/// A fixed, edge-triggered interprocessor interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ipi {
    /// Its vector, 16 to 255.
    pub vector: u8,
    /// Where it goes.
    pub destination: Destination,
}

/// State of a local APIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Apic {
    /// Mode.
    pub mode: ApicMode,
    /// APIC ID; in xAPIC mode 8 bits.
    pub id: u32,
    /// Requested interrupts.
    pub irr: VectorSet,
    /// Interrupts in service.
    pub isr: VectorSet,
    /// Task-priority register: bits 7:4 are the class, and what CR8 reads.
    pub tpr: u8,
    /// Interrupt command register, as 64 bits in both modes.
    pub icr: u64,
    /// Errors met since the ESR was written last.
    pub errors: u32,
}

/// ESR: the APIC was told to send a vector below 16. (SDM 3A, "Error Handling")
pub const SEND_ILLEGAL_VECTOR: u32 = 1 << 5;

/// Vectors below this one are no interrupts that an APIC sends or accepts. (SDM 3A, "Valid Interrupt Vectors")
const FIRST_LEGAL_VECTOR: u8 = 16;

impl Apic {
    /// Returns an enabled APIC without interrupts.
    pub const fn new(mode: ApicMode, id: u32) -> Self {
        Self {
            mode,
            id,
            irr: VectorSet([0; 4]),
            isr: VectorSet([0; 4]),
            tpr: 0,
            icr: 0,
            errors: 0,
        }
    }

    /// Accepts an interrupt that arrived: it waits in the IRR. Two of one vector become one.
    pub fn accept(&mut self, vector: u8) {
        if vector >= FIRST_LEGAL_VECTOR {
            self.irr.insert(vector);
        }
    }

    /// Returns the highest requested interrupt whose priority class is above the processor's, if there is one.
    /// (SDM 3A, "Task and Processor Priorities")
    pub fn deliverable(&self) -> Option<u8> {
        let in_service = self.isr.highest().unwrap_or(0);
        let processor_class = self.tpr.max(in_service) >> 4;
        self.irr
            .highest()
            .filter(|vector| vector >> 4 > processor_class)
    }

    /// Acknowledges the highest deliverable interrupt: it moves from IRR to ISR.
    pub fn acknowledge(&mut self) -> Option<u8> {
        let vector = self.deliverable()?;
        self.irr.remove(vector);
        self.isr.insert(vector);
        Some(vector)
    }

    /// Does a write to the EOI register: the highest interrupt in service ends.
    pub fn end_of_interrupt(&mut self) {
        if let Some(vector) = self.isr.highest() {
            self.isr.remove(vector);
        }
    }

    /// Writes the ICR as SENDUIPI does: fixed, physical, edge, no shorthand, vector `nv` to the processor that `ndst`
    /// names in the form of the APIC's mode. Returns what goes out.
    ///
    /// In xAPIC mode only bits 15:8 of NDST count. A vector below 16 is not sent but noted in the ESR. (SDM 3A, "User
    /// IPIs": "SENDUIPI"; "Interrupt Command Register (ICR)")
    pub fn notify(&mut self, nv: u8, ndst: u32) -> Option<Ipi> {
        let (id, broadcast, icr_high) = match self.mode {
            ApicMode::XApic => {
                let id = ndst >> 8 & 0xff;
                (id, 0xff, id << 24)
            }
            ApicMode::X2Apic => (ndst, u32::MAX, ndst),
        };
        self.icr = u64::from(icr_high) << 32 | u64::from(nv);
        if nv < FIRST_LEGAL_VECTOR {
            self.errors |= SEND_ILLEGAL_VECTOR;
            return None;
        }
        let destination = if id == broadcast {
            Destination::All
        } else {
            Destination::Physical(id)
        };
        Some(Ipi {
            vector: nv,
            destination,
        })
    }

    /// Tells whether this APIC accepts an interrupt for `destination`.
    pub fn is_named_by(&self, destination: Destination) -> bool {
        match destination {
            Destination::All => true,
            Destination::Physical(id) => id == self.id,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_vector_of_a_higher_class_is_acknowledged() {
        let mut apic = Apic::new(ApicMode::X2Apic, 1);
        for vector in [0x0f, 0x31, 0x35, 0xec] {
            apic.accept(vector);
        }
        assert_eq!(apic.acknowledge(), Some(0xec));
        assert_eq!(apic.acknowledge(), None);
        apic.end_of_interrupt();
        apic.tpr = 0x30;
        assert_eq!(apic.acknowledge(), None);
        apic.tpr = 0x2f;
        assert_eq!(apic.acknowledge(), Some(0x35));
        assert_eq!(apic.acknowledge(), None);
        apic.end_of_interrupt();
        assert_eq!(apic.acknowledge(), Some(0x31));
        apic.end_of_interrupt();
        assert!(apic.irr.is_empty() && apic.isr.is_empty());
    }

    #[test]
    fn ndst_is_read_in_the_form_of_the_mode() {
        let mut apic = Apic::new(ApicMode::X2Apic, 0);
        let ipi = apic.notify(0xec, 0x1_0203).unwrap();
        assert_eq!(ipi.destination, Destination::Physical(0x1_0203));
        assert_eq!(apic.icr, 0x0001_0203_0000_00ec);
        let ipi = apic.notify(0xec, u32::MAX).unwrap();
        assert_eq!(ipi.destination, Destination::All);
        apic.mode = ApicMode::XApic;
        let ipi = apic.notify(0xec, 0xabcd_05ef).unwrap();
        assert_eq!(ipi.destination, Destination::Physical(5));
        assert_eq!(apic.icr, 0x0500_0000_0000_00ec);
        let ipi = apic.notify(0xec, 0xff00).unwrap();
        assert_eq!(ipi.destination, Destination::All);
    }

    #[test]
    fn a_vector_below_16_is_an_error_and_is_not_sent() {
        let mut apic = Apic::new(ApicMode::X2Apic, 0);
        assert_eq!(apic.notify(15, 0), None);
        assert_eq!(apic.errors, SEND_ILLEGAL_VECTOR);
        assert!(apic.notify(16, 0).is_some());
    }
}
