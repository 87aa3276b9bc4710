//! Deadlines towards the servers.

use crate::engine::Engine;
use crate::ids::ServerQpId;
use crate::mux::closing::Loss;
use crate::rules::Rule;
use crate::time::Nanos;

impl Engine {
    /// Acts on every deadline that has passed, and finds the next one.
    ///
    /// Deadlines are looked through only when the earliest may have passed; that one is never
    /// late, but may be early, since an answer moves a deadline without looking at the others.
    pub(crate) fn run_timers(&mut self, now: Nanos) {
        if now < self.earliest {
            return;
        }
        let mut earliest = Nanos::NEVER;
        for index in 0..self.servers.states.len() {
            let id = ServerQpId(index as u32);
            if self.servers.get(id).is_some_and(|server| server.deadline <= now) {
                self.on_deadline(now, id);
            }
            if let Some(until) = self.again_deadline(id) {
                if until <= now {
                    self.servers.work.push(id.0);
                } else {
                    earliest = earliest.min(until);
                }
            }
            if let Some(until) = self.check_guests(now, id) {
                earliest = earliest.min(until);
            }
            if let Some(until) = self.assembly_deadline(id.owner()) {
                if until <= now {
                    self.clients.work.push(id.owner().0);
                } else {
                    earliest = earliest.min(until);
                }
            }
            earliest = self.servers.get(id).map_or(earliest, |s| earliest.min(s.deadline));
            if let Some(deadline) =
                self.watches.drain_deadline(id.owner(), self.config.flip_wait_ns)
            {
                if deadline <= now {
                    self.clients.work.push(id.owner().0);
                } else {
                    earliest = earliest.min(deadline);
                }
            }
        }
        self.earliest = earliest.min(self.run_resume_deadlines(now));
        self.resumes.settle();
    }

    fn on_deadline(&mut self, now: Nanos, id: ServerQpId) {
        let retries_max = self.config.server_retries_max;
        let until = now.after(self.config.packet_lifetime_ns);
        let Some(server) = self.servers.get_mut(id) else { return };
        if server.loss.is_some() {
            server.deadline = Nanos::NEVER;
            return self.servers.work.push(id.0);
        }
        if self.on_silence(now, id) {
            return;
        }
        let Some(server) = self.servers.get_mut(id) else { return };
        if server.not_ready_until.is_some() {
            return self.repair_from_oldest(now, id);
        }
        if server.open.is_empty() {
            server.deadline = Nanos::NEVER;
            return;
        }
        if self.awaits_bytes(id) {
            return self.repair_from_oldest(now, id);
        }
        let Some(server) = self.servers.get_mut(id) else { return };
        self.counters.timeouts += 1;
        server.retries += 1;
        server.round_trip.on_timeout();
        if server.retries > retries_max && self.config.keeps(Rule::SilentIsGivenUp) {
            return self.lose_server(id, Loss::Silent { until });
        }
        if !self.config.keeps(Rule::TimerRepairs) {
            server.deadline = Nanos::NEVER;
            return;
        }
        self.repair_from_oldest(now, id);
    }
}
