//! A call over unreliable datagrams: what software does that adapters do for RC.
//!
//! Request and answer are cut into packets of the MTU. Of each a window may be on its way; the
//! receiver tells every half window how far it is, the answer's first packet acknowledges the
//! whole request, and the last packet of an answer needs no acknowledgement. The client alone has
//! a timer: when nothing has moved for that long, it sends what is not acknowledged again, or asks
//! the server to do so. What comes out of order is thrown away (go-back-N). This is what eRPC does
//! (Kalia et al., NSDI 2019, section 5), but for its congestion control and for acknowledgements
//! of each packet.

use super::packet::{Body, Packet, Side, packets, part_bytes};
use crate::event::Ps;

/// A call's sizes, and how it is sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form {
    /// Bytes of request and answer.
    pub(super) bytes: [u64; 2],
    /// Bytes of payload in a packet.
    pub(super) mtu: usize,
    /// Packets on their way.
    pub(super) window: u32,
    /// Time without progress after which the client does something, ps.
    pub(super) timeout: Ps,
}

/// A message on its way, at its sender.
#[derive(Clone, Copy, Debug, Default)]
struct Sending {
    packets: u32,
    next: u32,
    acked: u32,
    most: u32,
}

impl Sending {
    fn poll(&mut self, window: u32) -> Option<u32> {
        if self.next >= self.packets.min(self.acked.saturating_add(window)) {
            return None;
        }
        self.next += 1;
        Some(self.next - 1)
    }

    /// Whether that was news.
    fn acknowledge(&mut self, next: u32) -> bool {
        let is_news = next > self.acked;
        self.acked = self.acked.max(next.min(self.packets));
        self.next = self.next.max(self.acked);
        is_news
    }

    fn go_back(&mut self) {
        self.most = self.most.max(self.next);
        self.next = self.acked;
    }
}

/// A message on its way, at its receiver.
#[derive(Clone, Copy, Debug, Default)]
struct Receiving {
    next: u32,
    tells: Option<u32>,
}

impl Receiving {
    /// A packet comes. Whether it is the next one.
    fn take(&mut self, number: u32, is_last: bool, window: u32) -> bool {
        let is_next = number == self.next;
        self.next += u32::from(is_next);
        // Also of what has come before: the acknowledgement may have been lost.
        if number < self.next && !is_last && (number + 1).is_multiple_of((window / 2).max(1)) {
            self.tells = Some(self.next);
        }
        is_next
    }
}

/// Where the server is with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Taking,
    Serving,
    Answering,
}

/// A call, both of its ends. An end changes nothing but its own half.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) op: u32,
    form: Form,
    // The client's half.
    request: Sending,
    taken: Receiving,
    asks_again: bool,
    deadline: Ps,
    // The server's half.
    came: Receiving,
    answer: Sending,
    stage: Stage,
    pub(super) sent_again: u64,
    pub(super) timeouts: u64,
}

impl Call {
    pub(super) fn new(now: Ps, op: u32, form: Form) -> Self {
        let count = |bytes| packets(bytes, form.mtu);
        Self {
            op,
            request: Sending { packets: count(form.bytes[0]), ..Sending::default() },
            answer: Sending { packets: count(form.bytes[1]), ..Sending::default() },
            taken: Receiving::default(),
            came: Receiving::default(),
            asks_again: false,
            deadline: now + form.timeout,
            stage: Stage::Taking,
            sent_again: 0,
            timeouts: 0,
            form,
        }
    }

    /// The next packet that an end sends, without its address.
    pub(super) fn poll_transmit(&mut self, from: Side) -> Option<Packet> {
        let (sending, receiving, direction) = match from {
            Side::Client => (&mut self.request, &mut self.taken, 0),
            Side::Server => (&mut self.answer, &mut self.came, 1),
        };
        let (to, op) = (from.peer(), self.op);
        let packet =
            |bytes, body| Some(Packet { route: 0, flow: 0, generation: 0, to, op, bytes, body });
        if from == Side::Client && std::mem::take(&mut self.asks_again) {
            return packet(0, Body::Resend { next: receiving.next });
        }
        if let Some(next) = receiving.tells.take() {
            return packet(0, Body::Ack { next });
        }
        if from == Side::Server && self.stage != Stage::Answering {
            return None;
        }
        let number = sending.poll(self.form.window)?;
        self.sent_again += u64::from(number < sending.most);
        let is_last = number + 1 == sending.packets;
        let bytes = part_bytes(self.form.bytes[direction], self.form.mtu, number);
        packet(bytes, Body::Data { number, is_last, ack: 0 })
    }

    /// A packet comes to an end. Whether that end has all of its message now.
    pub(super) fn handle(&mut self, now: Ps, at: Side, body: Body) -> bool {
        let window = self.form.window;
        match (at, body) {
            (Side::Client, Body::Data { number, is_last, .. }) => {
                self.request.acknowledge(self.request.packets);
                if !self.taken.take(number, is_last, window) {
                    return false;
                }
                self.deadline = now + self.form.timeout;
                is_last
            }
            (Side::Client, Body::Ack { next } | Body::Resend { next }) => {
                if self.request.acknowledge(next) {
                    self.deadline = now + self.form.timeout;
                }
                false
            }
            (Side::Server, Body::Data { number, is_last, .. }) => {
                let is_new = self.came.take(number, is_last, window);
                if is_new && is_last {
                    self.stage = Stage::Serving;
                    return true;
                }
                if is_last && self.stage == Stage::Answering {
                    // The client has seen nothing of the answer.
                    self.answer.go_back();
                }
                false
            }
            (Side::Server, Body::Ack { next }) => {
                self.answer.acknowledge(next);
                false
            }
            (Side::Server, Body::Resend { next }) => {
                self.answer.acknowledge(next);
                self.answer.go_back();
                false
            }
        }
    }

    /// The server has the answer.
    pub(super) fn answer(&mut self) {
        self.stage = Stage::Answering;
    }

    /// When the client does something by itself, ps.
    pub(super) fn deadline(&self) -> Ps {
        self.deadline
    }

    /// Nothing has moved until the deadline.
    pub(super) fn handle_timeout(&mut self, now: Ps) {
        self.timeouts += 1;
        self.deadline = now + self.form.timeout;
        // Something of the answer has come if the whole request is acknowledged.
        match self.request.acked < self.request.packets {
            true => self.request.go_back(),
            false => self.asks_again = true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Body, Call, Form, Side};
    use crate::dice::Dice;

    /// Packets are lost at random; whatever is lost, the call ends, and the server serves it once.
    #[test]
    fn a_call_ends_whatever_is_lost() {
        for seed in 0..200 {
            let mut dice = Dice::new(seed, 0, 0);
            let bytes = [dice.between(1, 9_000), dice.between(1, 9_000)];
            let window = dice.between(1, 9) as u32;
            let mut call = Call::new(0, 0, Form { bytes, mtu: 1_000, window, timeout: 10 });
            let (mut now, mut served, mut ended, mut lost) = (0, 0, false, 0);
            while !ended {
                let mut is_moving = false;
                for from in [Side::Client, Side::Server] {
                    while let Some(packet) = call.poll_transmit(from) {
                        is_moving = true;
                        if dice.chance(200) {
                            lost += 1;
                            continue;
                        }
                        if call.handle(now, packet.to, packet.body) {
                            match packet.to {
                                Side::Client => ended = true,
                                Side::Server => {
                                    served += 1;
                                    call.answer();
                                }
                            }
                        }
                    }
                }
                if !is_moving {
                    now = call.deadline();
                    call.handle_timeout(now);
                }
                assert!(now < 100_000, "seed {seed} does not end");
            }
            assert_eq!(served, 1, "seed {seed}");
            assert!(lost == 0 || call.timeouts > 0 || call.sent_again == 0);
        }
    }

    #[test]
    fn no_more_than_a_window_is_on_its_way() {
        let form = Form { bytes: [10_000, 1], mtu: 1_000, window: 4, timeout: 10 };
        let mut call = Call::new(0, 0, form);
        let mut sent = || std::iter::from_fn(|| call.poll_transmit(Side::Client)).count();
        assert_eq!((sent(), sent()), (4, 0));
        call.handle(1, Side::Client, Body::Ack { next: 2 });
        let mut sent = || std::iter::from_fn(|| call.poll_transmit(Side::Client)).count();
        assert_eq!(sent(), 2);
    }
}
