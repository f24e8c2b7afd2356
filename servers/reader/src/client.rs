//! The block server as its client sees it.

use block_client::Error;
use protocol::block::Information;

/// A disk, as this task uses it.
pub trait Disk {
    /// What disk it is.
    ///
    /// # Errors
    /// Why there is none.
    fn information(&mut self) -> Result<Information, Error>;
    /// What disk it is, after the block server has restarted.
    ///
    /// # Errors
    /// Why there is none any more.
    fn resume(&mut self) -> Result<Information, Error>;
    /// Reads blocks of the disk to the byte `offset` of the window.
    ///
    /// # Errors
    /// Why they are not there.
    fn read(&mut self, first_block: u64, blocks: u32, offset: u64) -> Result<(), Error>;
}

impl Disk for block_client::Disk {
    fn information(&mut self) -> Result<Information, Error> {
        self.open()
    }

    fn resume(&mut self) -> Result<Information, Error> {
        block_client::Disk::resume(self)
    }

    fn read(&mut self, first_block: u64, blocks: u32, offset: u64) -> Result<(), Error> {
        block_client::Disk::read(self, first_block, blocks, offset)
    }
}
