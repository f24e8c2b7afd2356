//! How a request comes here: to wait for its turn, or, where nothing waits, to go to the driver at once.

use protocol::block::Failure;
use protocol::nvme::{BatchRoom, Operation, Transfer};

use super::{
    BYTES_IN_FLIGHT_MAX, BYTES_WITHOUT_DATA, IN_FLIGHT_MAX, INDEX_BITS, Origin, Request, Requests, State, weight,
};

/// What a request that moves so many bytes counts for.
#[inline]
const fn counted(bytes: u64) -> u64 {
    if bytes == 0 { BYTES_WITHOUT_DATA } else { bytes }
}

impl<R> Requests<R> {
    /// Admits a request that was checked. `bytes` is what it moves. The caller has seen that the client's share is not
    /// used up; gives the origin back if there is no room all the same.
    ///
    /// # Errors
    /// The origin.
    pub fn admit(&mut self, party: usize, origin: Origin<R>, transfer: Transfer, bytes: u64) -> Result<(), Origin<R>> {
        let (index, _) = self.insert(party, origin, &transfer, counted(bytes), State::Waiting)?;
        self.next.push_back(&mut self.parties[party].waiting, index);
        self.waiting += 1;
        self.waiting_parties |= 1 << party;
        Ok(())
    }

    /// As [`Self::admit`], and if nothing waits or holds it up, it is handed over to the driver with this batch at once:
    /// [`Self::choose`] would choose just that. [`Self::not_taken`] must follow for what the driver does not take.
    ///
    /// # Errors
    /// The origin.
    #[inline(always)]
    pub fn admit_at_once(
        &mut self,
        party: usize,
        origin: Origin<R>,
        transfer: &Transfer,
        bytes: u64,
        batch: &mut BatchRoom<Transfer>,
    ) -> Result<(), Origin<R>> {
        let bytes = counted(bytes);
        if self.waiting > 0
            || self.in_flight >= IN_FLIGHT_MAX
            || self.bytes_in_flight + weight(bytes) > BYTES_IN_FLIGHT_MAX
            || self.changing.holds_up(transfer, false)
            || batch.is_full()
        {
            return self.admit(party, origin, *transfer, bytes);
        }
        let (index, transfer) = self.insert(party, origin, transfer, bytes, State::InFlight)?;
        self.put_in_flight(party, index, &transfer, bytes, batch);
        Ok(())
    }

    /// Admits a client's transfer that has failed already.
    ///
    /// # Errors
    /// The origin, if there is no room.
    pub fn admit_failed(&mut self, party: usize, origin: Origin<R>, failure: Failure) -> Result<(), Origin<R>> {
        let nothing = Transfer { tag: 0, operation: Operation::Flush, nsid: 0, first_block: 0, blocks: 0, offset: 0 };
        let (index, _) = self.insert(party, origin, &nothing, counted(0), State::Waiting)?;
        self.end(index, Err(failure));
        Ok(())
    }

    /// Finds room for a request, and gives it its tag.
    #[inline(always)]
    fn insert(
        &mut self,
        party: usize,
        origin: Origin<R>,
        transfer: &Transfer,
        bytes: u64,
        state: State,
    ) -> Result<(usize, Transfer), Origin<R>> {
        let Some(index) = self.next.pop_front(&mut self.free) else { return Err(origin) };
        self.sequence = self.sequence.wrapping_add(1);
        let transfer = Transfer { tag: self.sequence << INDEX_BITS | index as u32, ..*transfer };
        let (undecided, handed_over, doubts) = (false, self.now, 0);
        self.entries[index] =
            Some(Request { party: party as u8, origin, transfer, bytes, state, undecided, handed_over, doubts });
        self.parties[party].held += 1;
        Ok((index, transfer))
    }
}
