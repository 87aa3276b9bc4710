//! What a core does next.

use super::parts::Packet;
use super::plan::Stack;
use crate::event::Ps;

/// What a core does.
#[derive(Clone, Copy, Debug)]
pub(super) enum Task {
    /// It takes an interrupt of a ring.
    Interrupt(usize),
    /// The kernel takes a packet from a ring to a socket.
    Deliver(Packet),
    /// The same, but its client is told that it is not served.
    Reject,
    /// The application looks at its ring, and takes what there is.
    Poll,
    /// The application serves a request.
    Serve(Packet),
}

/// A task and the time at which it ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Running {
    pub(super) task: Task,
    pub(super) ends: Ps,
}

/// Who has a core that polling and the application share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Turn {
    #[default]
    Polling,
    Application,
}

/// A core.
#[derive(Debug, Default)]
pub(super) struct Core {
    pub(super) running: Option<Running>,
    /// A request that an interrupt has put off, and the time that it still takes.
    pub(super) put_off: Option<(Packet, Ps)>,
    /// Its thread sleeps, and has to be woken.
    pub(super) sleeps: bool,
    /// Events of tasks that did not go on as planned have another number.
    pub(super) stamp: u64,
    /// Packets that were polled since there was nothing to poll.
    pub(super) polled: u64,
    /// Whose turn it is once that is more than the budget, and since when.
    pub(super) turn: (Turn, Ps),
    /// Without a kernel: whether the ring was looked at after the last request.
    pub(super) has_looked: bool,
}

/// What a core could do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice {
    /// There is something to take from a ring.
    pub(super) receive: bool,
    /// The application has something to do.
    pub(super) serve: bool,
}

/// What it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chosen {
    Receive,
    Serve,
    Nothing,
}

impl Core {
    /// What the core does next, if no interrupt has come.
    pub(super) fn choose(
        &mut self,
        stack: Stack,
        choice: Choice,
        now: Ps,
        (budget, slice): (u64, Ps),
    ) -> Chosen {
        if !choice.receive {
            self.polled = 0;
        }
        match (choice.receive, choice.serve) {
            (false, false) => Chosen::Nothing,
            (true, false) => Chosen::Receive,
            (false, true) => Chosen::Serve,
            (true, true) => match stack {
                Stack::Interrupts => Chosen::Receive,
                Stack::Bypass if self.has_looked => Chosen::Serve,
                Stack::Bypass => Chosen::Receive,
                Stack::Napi => self.share(now, budget, slice),
            },
        }
    }

    /// Polling goes first up to its budget; from then on the two have turns.
    fn share(&mut self, now: Ps, budget: u64, slice: Ps) -> Chosen {
        if self.polled < budget {
            self.turn = (Turn::Polling, now);
            return Chosen::Receive;
        }
        let (turn, since) = self.turn;
        // The budget was polling's turn: the application's is first.
        if self.polled == budget && turn == Turn::Polling {
            self.turn = (Turn::Application, now);
        } else if now - since >= slice {
            let next = match turn {
                Turn::Polling => Turn::Application,
                Turn::Application => Turn::Polling,
            };
            self.turn = (next, now);
        }
        match self.turn.0 {
            Turn::Polling => Chosen::Receive,
            Turn::Application => Chosen::Serve,
        }
    }
}
