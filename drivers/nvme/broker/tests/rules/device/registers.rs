//! The controller's registers, and the rest of what the kernel does for a broker.

use broker::Device;
use nvme_spec::registers::{ACQ, AQA, ASQ, CAP, CC, CSTS, Configuration, DOORBELLS, ShutdownNotification, VS};

use super::{Event, FakeDevice};

impl FakeDevice {
    fn write_configuration(&mut self, value: u32) {
        let (before, after) = (Configuration(self.configuration), Configuration(value));
        if after.enable() {
            let constants = Configuration::new(true, after.shutdown().expect("SHN is reserved"));
            assert_eq!(after, constants, "CC is not authored whole");
        }
        self.configuration = value;
        match (before.enable(), after.enable()) {
            (false, true) => {
                assert!(!self.is_ready(), "EN was set before RDY fell");
                assert!(self.interrupts, "MSI-X must be on before EN");
                assert!(!self.bus_mastering, "bus mastering was on before EN");
                assert_eq!(after.shutdown(), Some(ShutdownNotification::None));
                self.forget();
                self.add_ring(0, true, self.asq, (self.aqa & 0xfff) as u16 + 1);
                self.add_ring(0, false, self.acq, (self.aqa >> 16 & 0xfff) as u16 + 1);
                if self.prompt {
                    self.follow();
                }
            }
            (true, false) if self.prompt => self.follow(),
            _ => {}
        }
    }

    fn ring_doorbell(&mut self, offset: u32, value: u32) {
        assert!(self.bus_mastering && self.is_ready(), "doorbell of a controller that is not working");
        let stride = 4 << (self.capabilities >> 32 & 0xf);
        assert_eq!((offset - DOORBELLS) % stride, 0, "{offset:#x} is no doorbell");
        let number = (offset - DOORBELLS) / stride;
        let (queue, is_submission) = ((number / 2) as u16, number.is_multiple_of(2));
        let rings = if is_submission { &mut self.submission } else { &mut self.completion };
        let ring = rings.get_mut(&queue).unwrap_or_else(|| panic!("doorbell {offset:#x} of a queue that is not live"));
        assert!(value < u32::from(ring.entries), "doorbell value beyond the ring");
        if is_submission {
            let (old, new) = (ring.tail, value as u16);
            let free = (ring.head + ring.entries - old - 1) % ring.entries;
            assert!((new + ring.entries - old) % ring.entries <= free, "submission ring overrun");
            ring.tail = new;
        } else {
            ring.head = value as u16;
        }
    }

    fn check_write(&mut self, offset: u32, bytes: u32, value: u64) {
        assert!(offset.is_multiple_of(bytes), "unaligned register write");
        assert!(offset + bytes <= self.ledger.register_bytes, "register write beyond the BAR");
        for (first, length) in &self.ledger.reserved {
            assert!(offset + bytes <= *first || offset >= first + length, "write into the MSI-X table");
        }
        self.events.push(Event::Register(offset, value));
    }
}

impl Device for FakeDevice {
    fn read_u32(&mut self, offset: u32) -> u32 {
        self.reads_of_registers += 1;
        match offset {
            _ if self.gone => u32::MAX,
            VS => 0x0001_0400,
            CC => self.configuration,
            CSTS => self.status,
            other => panic!("read of register {other:#x}"),
        }
    }

    fn read_u64(&mut self, offset: u32) -> u64 {
        self.reads_of_registers += 1;
        assert_eq!(offset, CAP);
        if self.gone { u64::MAX } else { self.capabilities }
    }

    fn write_u32(&mut self, offset: u32, value: u32) {
        self.check_write(offset, 4, value.into());
        match offset {
            _ if self.gone => {}
            CC => self.write_configuration(value),
            AQA => self.aqa = value,
            DOORBELLS.. => self.ring_doorbell(offset, value),
            other => panic!("write of register {other:#x}"),
        }
    }

    fn write_u64(&mut self, offset: u32, value: u64) {
        self.check_write(offset, 8, value);
        assert!(self.gone || !Configuration(self.configuration).enable(), "queue address while enabled");
        match offset {
            ASQ => self.asq = value,
            ACQ => self.acq = value,
            other => panic!("write of register {other:#x}"),
        }
    }

    fn hidden_u32(&mut self, offset: u32) -> u32 {
        let at = offset as usize;
        u32::from_le_bytes(self.hidden[at..at + 4].try_into().unwrap())
    }

    fn read_hidden(&mut self, offset: u32, to: &mut [u8]) {
        to.copy_from_slice(&self.hidden[offset as usize..][..to.len()]);
    }

    fn write_hidden(&mut self, offset: u32, from: &[u8]) {
        self.hidden[offset as usize..][..from.len()].copy_from_slice(from);
    }

    fn set_bus_mastering(&mut self, on: bool) {
        self.bus_mastering = on;
        self.events.push(Event::BusMastering(on));
    }

    fn set_interrupts(&mut self, on: bool) {
        self.interrupts = on;
        self.events.push(Event::Interrupts(on));
    }

    fn now(&self) -> u64 {
        self.time
    }
}
