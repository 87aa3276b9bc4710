//! Deadlines towards the servers.

use crate::engine::Engine;
use crate::ids::ServerQpId;
use crate::mux::closing::Loss;
use crate::rules::Rule;
use crate::time::Nanos;

impl Engine {
    /// Acts on deadlines that have passed, and finds the next one. Of very many connections some
    /// are left for the next call, which is due at once then.
    pub(crate) fn run_timers(&mut self, now: Nanos) {
        if now < self.deadlines.earliest() {
            return;
        }
        for connection in self.deadlines.take_due(now).flatten() {
            let id = ServerQpId(connection as u32);
            if let Some(next) = self.run_timers_of(now, id) {
                self.deadlines.note(id.0, next);
            }
        }
        if self.deadlines.take_resumed(now) {
            self.run_resume_deadlines(now);
        }
        self.deadlines.settle();
        self.resumes.settle(now);
    }

    /// Acts on deadlines of a connection and its server queue pair. The next one that is left.
    fn run_timers_of(&mut self, now: Nanos, id: ServerQpId) -> Option<Nanos> {
        let deadline = self.servers.get(id)?.deadline;
        if deadline > now && self.waits_for_answers_only(id) {
            return Some(deadline);
        }
        if deadline <= now {
            self.on_deadline(now, id);
        }
        let of_server = self.again_deadline(id);
        if of_server.is_some_and(|until| until <= now) {
            self.servers.work.push(id.0);
        }
        let client = id.owner();
        let of_client = [
            self.assembly_deadline(client),
            self.watches.drain_deadline(client, self.config.flip_wait_ns),
        ];
        if of_client.iter().flatten().any(|until| *until <= now) {
            self.clients.work.push(client.0);
        }
        let guests = self.check_guests(now, id);
        let deadline = self.servers.get(id)?.deadline;
        let others =
            of_client.into_iter().chain([of_server]).flatten().filter(|until| *until > now);
        others.chain(guests).chain([deadline]).min()
    }

    /// Whether it is known that nothing but its oldest open request has a deadline: of thousands
    /// of connections the other records need not be fetched from memory then.
    #[inline]
    fn waits_for_answers_only(&self, id: ServerQpId) -> bool {
        self.servers.states.is_known_usual(id.index())
            && self.clients.states.is_known_usual(id.owner().index())
            && !self.watches.may_speak(id.owner())
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
