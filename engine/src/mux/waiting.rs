//! Whose turn it is among the requests that wait at a server queue pair.

use super::server_qp::ServerQp;
use super::slab::Queue;
use crate::engine::Engine;
use crate::ids::{ClientId, ServerQpId};
use crate::rules::Rule;

/// Requests that are passed over, at most, because their list's end is not known yet. Who waits
/// behind more of them waits for these.
const PASSED_OVER_MAX: usize = 16;

impl Engine {
    /// The waiting request whose turn it is: the oldest, but inside a message the next of it.
    pub(crate) fn next_waiting(&self, id: ServerQpId) -> Option<u32> {
        let server = self.servers.get(id)?;
        let queues = [server.waiting_own, server.waiting_guests, server.waiting_rest];
        if queues.iter().all(Queue::is_empty) {
            return None;
        }
        let slot = match server.in_message {
            Some(client) => {
                let rest = self.next_of_message(server, client);
                rest.or_else(|| self.next_read_again(id, server))
            }
            None if server.exclusive && self.config.keeps(Rule::GuestsMakeRoom) => {
                self.before_message(server, server.waiting_own.head())
            }
            None => {
                let own = self.first_free(id, &server.waiting_own);
                let guest = self.first_free(id, &server.waiting_guests);
                self.before_message(server, self.older(own, guest))
            }
        }?;
        let record = self.servers.slots.get(slot)?;
        self.may_bind(id, &record.request).then_some(slot)
    }

    /// Which of two waiting requests came first.
    fn older(&self, own: Option<u32>, guest: Option<u32>) -> Option<u32> {
        let (Some(first), Some(other)) = (own, guest) else { return own.or(guest) };
        let arrival = |slot| self.servers.slots.get(slot).map(|record| record.arrival);
        if arrival(first) < arrival(other) { own } else { guest }
    }

    /// The request whose turn it is, or the repeated READ that goes before it.
    fn before_message(&self, server: &ServerQp, first: Option<u32>) -> Option<u32> {
        first.map(|first| self.read_before_message(server, first).unwrap_or(first))
    }

    /// The first request of a queue that does not wait for the end of its list, nor behind one of
    /// the same client that does.
    fn first_free(&self, id: ServerQpId, queue: &Queue) -> Option<u32> {
        if !self.minds {
            return queue.head();
        }
        let mut passed = [ClientId(0); PASSED_OVER_MAX];
        let mut count = 0;
        let mut slot = queue.head();
        while let Some(index) = slot {
            let request = &self.servers.slots.get(index)?.request;
            let behind = passed.get(..count)?.contains(&request.client);
            if !behind && !self.waits_for_list(id, request) {
                return Some(index);
            }
            if !behind {
                *passed.get_mut(count)? = request.client;
                count += 1;
            }
            slot = self.servers.slots.next(index);
        }
        None
    }

    /// The packet of a client's message that comes next. Parts of others' wait among them.
    fn next_of_message(&self, server: &ServerQp, client: ClientId) -> Option<u32> {
        let first = server.waiting_rest.head();
        self.servers.slots.find_from(first, |record| record.request.client == client)
    }
}
