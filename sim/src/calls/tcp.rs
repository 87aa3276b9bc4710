//! A TCP connection between two kernels, in segments: slow start, congestion avoidance, fast
//! retransmit and recovery (NewReno, RFC 5681 and RFC 6582), timeouts (RFC 6298) with a least value
//! that can be set. It is open already, so a first round trip has been measured: the first timeout
//! is the least one. Every second segment is acknowledged, and the end of a message at once, unless
//! its receiver is going to answer it; there is no timer of delayed acknowledgements. No selective
//! acknowledgements, no ECN, no pacing.

use std::collections::{BTreeMap, VecDeque};

use super::packet::{Body, Packet, Side, packets, part_bytes};
use crate::event::Ps;

/// Duplicate acknowledgements that mean a loss.
const DUPLICATES: u32 = 3;
/// Segments that a connection begins with: RFC 6928.
const INITIAL_WINDOW: f64 = 10.0;
/// Doublings of the timeout at most.
const BACKOFF_MOST: u32 = 8;

/// A part of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Segment {
    op: u32,
    bytes: u32,
    is_last: bool,
}

/// How segments are sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form {
    /// Bytes of payload in a segment.
    pub(super) mtu: usize,
    /// Segments that the receiver has room for.
    pub(super) window: u32,
    /// Least timeout, ps.
    pub(super) timeout: Ps,
}

/// The sending half of an end.
#[derive(Clone, Debug)]
struct Sender {
    form: Form,
    /// What is not acknowledged or not sent, from `una` on.
    segments: VecDeque<Segment>,
    una: u32,
    next: u32,
    /// One more than the last that was ever sent.
    most: u32,
    cwnd: f64,
    ssthresh: f64,
    duplicates: u32,
    /// While lost segments are repaired: what had been sent when that was noticed.
    recover: Option<u32>,
    /// No duplicate acknowledgement below this means another loss.
    high: u32,
    again: bool,
    smoothed: Option<(f64, f64)>,
    timed: Option<(u32, Ps)>,
    backoff: u32,
    deadline: Option<Ps>,
    last_sent: Ps,
    sent_again: u64,
    timeouts: u64,
}

impl Sender {
    fn new(form: Form) -> Self {
        Self {
            form,
            segments: VecDeque::new(),
            una: 0,
            next: 0,
            most: 0,
            cwnd: INITIAL_WINDOW,
            ssthresh: f64::MAX,
            duplicates: 0,
            recover: None,
            high: 0,
            again: false,
            smoothed: None,
            timed: None,
            backoff: 0,
            deadline: None,
            last_sent: 0,
            sent_again: 0,
            timeouts: 0,
        }
    }

    fn timeout(&self) -> Ps {
        let measured = self.smoothed.map_or(0.0, |(mean, deviation)| mean + 4.0 * deviation);
        self.form.timeout.max(measured as Ps) << self.backoff.min(BACKOFF_MOST)
    }

    /// Number and contents of what is sent next.
    fn poll(&mut self, now: Ps) -> Option<(u32, Segment)> {
        if self.una == self.most && now > self.last_sent + self.timeout() {
            // Nobody knows the path any more (RFC 5681, section 4.1).
            self.cwnd = self.cwnd.min(INITIAL_WINDOW);
        }
        let number = match std::mem::take(&mut self.again) && !self.segments.is_empty() {
            true => self.una,
            false => {
                let window = (self.cwnd as u32).clamp(1, self.form.window);
                let end = self.una + (self.segments.len() as u32).min(window);
                if self.next >= end {
                    return None;
                }
                self.next += 1;
                self.next - 1
            }
        };
        let segment = *self.segments.get((number - self.una) as usize)?;
        if number < self.most {
            self.sent_again += 1;
            // Which of the two an acknowledgement is for cannot be told (Karn).
            self.timed = None;
        } else if self.timed.is_none() {
            self.timed = Some((number, now));
        }
        self.most = self.most.max(number + 1);
        self.last_sent = now;
        self.deadline = self.deadline.or(Some(now + self.timeout()));
        Some((number, segment))
    }

    fn acknowledge(&mut self, now: Ps, next: u32, is_alone: bool) {
        if next > self.una && next <= self.most {
            self.advance(now, next);
        } else if next == self.una && self.una < self.most && is_alone {
            self.duplicates += 1;
            if self.recover.is_some() {
                self.cwnd += 1.0;
            } else if self.duplicates == DUPLICATES && self.una >= self.high {
                self.ssthresh = (f64::from(self.most - self.una) / 2.0).max(2.0);
                self.cwnd = self.ssthresh + f64::from(DUPLICATES);
                (self.recover, self.high) = (Some(self.most), self.most);
                self.again = true;
            }
        }
    }

    fn advance(&mut self, now: Ps, next: u32) {
        let count = next - self.una;
        self.segments.drain(..(count as usize).min(self.segments.len()));
        self.una = next;
        self.next = self.next.max(next);
        (self.duplicates, self.backoff) = (0, 0);
        if let Some((_, sent)) = self.timed.take_if(|(number, _)| *number < next) {
            self.measure((now - sent) as f64);
        }
        let count = f64::from(count);
        match self.recover {
            Some(end) if next < end => {
                self.again = true;
                self.cwnd = (self.cwnd - count + 1.0).max(1.0);
            }
            Some(_) => {
                self.recover = None;
                self.cwnd = self.ssthresh;
            }
            None if self.cwnd < self.ssthresh => self.cwnd += count,
            None => self.cwnd += count / self.cwnd,
        }
        self.cwnd = self.cwnd.min(f64::from(self.form.window).max(INITIAL_WINDOW));
        self.deadline = (self.una < self.most).then(|| now + self.timeout());
    }

    /// Mean and deviation of the round trip: RFC 6298, section 2.
    fn measure(&mut self, round: f64) {
        self.smoothed = Some(match self.smoothed {
            None => (round, round / 2.0),
            Some((mean, deviation)) => {
                (0.875 * mean + 0.125 * round, 0.75 * deviation + 0.25 * (mean - round).abs())
            }
        });
    }

    fn handle_timeout(&mut self, now: Ps) {
        self.timeouts += 1;
        self.ssthresh = (f64::from(self.most - self.una) / 2.0).max(2.0);
        (self.cwnd, self.next, self.duplicates) = (1.0, self.una, 0);
        (self.recover, self.high, self.timed, self.again) = (None, self.most, None, false);
        self.backoff += 1;
        self.deadline = Some(now + self.timeout());
    }
}

/// The receiving half of an end.
#[derive(Clone, Debug, Default)]
struct Receiver {
    next: u32,
    /// What has come too early: the operation of each last one.
    early: BTreeMap<u32, Option<u32>>,
    untold: u32,
    tells: bool,
}

/// One end.
#[derive(Clone, Debug)]
struct End {
    sender: Sender,
    receiver: Receiver,
}

/// A connection, both of its ends.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    ends: [End; 2],
}

impl Connection {
    pub(super) fn new(form: Form) -> Self {
        let end = End { sender: Sender::new(form), receiver: Receiver::default() };
        Self { ends: [end.clone(), end] }
    }

    /// An end sends a message.
    pub(super) fn send(&mut self, from: Side, op: u32, bytes: u64) {
        let sender = &mut self.ends[from as usize].sender;
        let (mtu, count) = (sender.form.mtu, packets(bytes, sender.form.mtu));
        let segment = |number| Segment {
            op,
            bytes: part_bytes(bytes, mtu, number),
            is_last: number + 1 == count,
        };
        sender.segments.extend((0..count).map(segment));
    }

    /// The next packet that an end sends, without its address.
    pub(super) fn poll_transmit(&mut self, now: Ps, from: Side) -> Option<Packet> {
        let End { sender, receiver } = &mut self.ends[from as usize];
        let to = from.peer();
        if let Some((number, Segment { op, bytes, is_last })) = sender.poll(now) {
            (receiver.tells, receiver.untold) = (false, 0);
            let body = Body::Data { number, is_last, ack: receiver.next };
            return Some(Packet { route: 0, flow: 0, generation: 0, to, op, bytes, body });
        }
        if !std::mem::take(&mut receiver.tells) {
            return None;
        }
        receiver.untold = 0;
        let body = Body::Ack { next: receiver.next };
        Some(Packet { route: 0, flow: 0, generation: 0, to, op: u32::MAX, bytes: 0, body })
    }

    /// A packet comes to an end. The operations whose messages have come whole.
    pub(super) fn handle(&mut self, now: Ps, at: Side, packet: &Packet) -> Vec<u32> {
        let End { sender, receiver } = &mut self.ends[at as usize];
        let (number, is_last) = match packet.body {
            Body::Ack { next } | Body::Resend { next } => {
                sender.acknowledge(now, next, true);
                return Vec::new();
            }
            Body::Data { number, is_last, ack } => {
                sender.acknowledge(now, ack, false);
                (number, is_last)
            }
        };
        if number != receiver.next {
            receiver.tells = true;
            if number > receiver.next {
                receiver.early.insert(number, is_last.then_some(packet.op));
            }
            return Vec::new();
        }
        let fills_gap = !receiver.early.is_empty();
        let mut whole = Vec::new();
        let mut came = Some(is_last.then_some(packet.op));
        while let Some(last) = came {
            whole.extend(last);
            receiver.next += 1;
            came = receiver.early.remove(&receiver.next);
        }
        receiver.untold += 1;
        let is_told_by_answer = at == Side::Server && !whole.is_empty();
        let is_end = is_last && !is_told_by_answer;
        receiver.tells |= receiver.untold >= 2 || is_end || fills_gap;
        whole
    }

    /// When an end does something by itself, ps.
    pub(super) fn deadline(&self, at: Side) -> Option<Ps> {
        self.ends[at as usize].sender.deadline
    }

    /// The operation that an end waits for, if it does.
    pub(super) fn waits_for(&self, at: Side) -> Option<u32> {
        self.ends[at as usize].sender.segments.front().map(|segment| segment.op)
    }

    /// Nothing has been acknowledged until an end's deadline.
    pub(super) fn handle_timeout(&mut self, now: Ps, at: Side) {
        self.ends[at as usize].sender.handle_timeout(now);
    }

    /// Segments that were sent again, and timeouts.
    pub(super) fn repairs(&self) -> [u64; 2] {
        let sum = |of: fn(&Sender) -> u64| self.ends.iter().map(|end| of(&end.sender)).sum();
        [sum(|sender| sender.sent_again), sum(|sender| sender.timeouts)]
    }
}

#[cfg(test)]
mod tests {
    use super::{Connection, Form, INITIAL_WINDOW, Side};
    use crate::dice::Dice;

    const FORM: Form = Form { mtu: 1_000, window: 1_000, timeout: 10_000 };

    fn sent(connection: &mut Connection, now: u64) -> Vec<super::Packet> {
        std::iter::from_fn(|| connection.poll_transmit(now, Side::Client)).collect()
    }

    /// Without loss the window doubles each round trip until the message is through.
    #[test]
    fn a_connection_starts_slowly() {
        let mut connection = Connection::new(FORM);
        connection.send(Side::Client, 0, 75_000);
        let mut rounds = Vec::new();
        let mut now = 0;
        loop {
            let packets = sent(&mut connection, now);
            if packets.is_empty() {
                break;
            }
            rounds.push(packets.len());
            now += 100;
            for packet in packets {
                connection.handle(now, Side::Server, &packet);
                while let Some(ack) = connection.poll_transmit(now, Side::Server) {
                    connection.handle(now + 100, Side::Client, &ack);
                }
            }
            now += 100;
        }
        assert_eq!(rounds, [INITIAL_WINDOW as usize, 20, 40, 5]);
        assert_eq!(connection.repairs(), [0, 0]);
    }

    #[test]
    fn one_lost_segment_is_repaired_without_a_timeout_and_halves_the_window() {
        let mut connection = Connection::new(FORM);
        connection.send(Side::Client, 0, 10_000);
        let mut whole = Vec::new();
        for packet in sent(&mut connection, 0).into_iter().skip(1) {
            whole.extend(connection.handle(50, Side::Server, &packet));
            while let Some(ack) = connection.poll_transmit(50, Side::Server) {
                connection.handle(100, Side::Client, &ack);
            }
        }
        let again = sent(&mut connection, 100);
        assert_eq!(again.len(), 1);
        whole.extend(connection.handle(150, Side::Server, &again[0]));
        assert_eq!((whole, connection.repairs()), (vec![0], [1, 0]));
        while let Some(ack) = connection.poll_transmit(150, Side::Server) {
            connection.handle(200, Side::Client, &ack);
        }
        assert_eq!(connection.ends[0].sender.cwnd, 5.0);
    }

    #[test]
    fn a_lost_tail_waits_for_its_timeout_which_doubles() {
        let mut connection = Connection::new(FORM);
        connection.send(Side::Client, 0, 500);
        assert_eq!(sent(&mut connection, 0).len(), 1);
        assert_eq!(connection.deadline(Side::Client), Some(10_000));
        connection.handle_timeout(10_000, Side::Client);
        assert_eq!(sent(&mut connection, 10_000).len(), 1);
        assert_eq!(connection.deadline(Side::Client), Some(30_000));
    }

    #[test]
    fn messages_come_whole_and_in_order_whatever_is_lost() {
        for seed in 0..200 {
            let mut dice = Dice::new(seed, 0, 0);
            let mut connection = Connection::new(FORM);
            for op in 0..20 {
                connection.send(Side::Client, op, dice.between(1, 20_000));
            }
            let (mut now, mut whole) = (0, Vec::new());
            while whole.len() < 20 || connection.waits_for(Side::Client).is_some() {
                now += 10;
                let mut is_moving = false;
                for from in [Side::Client, Side::Server] {
                    while let Some(packet) = connection.poll_transmit(now, from) {
                        is_moving = true;
                        if !dice.chance(100) {
                            whole.extend(connection.handle(now, packet.to, &packet));
                        }
                    }
                }
                if let Some(due) = connection.deadline(Side::Client).filter(|_| !is_moving) {
                    now = now.max(due);
                    connection.handle_timeout(now, Side::Client);
                }
                assert!(now < 1 << 40, "seed {seed} does not end");
            }
            assert_eq!(whole, (0..20).collect::<Vec<_>>(), "seed {seed}");
        }
    }
}
