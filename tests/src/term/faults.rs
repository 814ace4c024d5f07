//! What goes wrong in a term.

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The network of a room is cut from before the lesson until some time after its end.
    Offline,
    /// Somebody covers the lens, from the middle of the lesson to its end.
    Covered,
    /// The camera gives the last picture of the lesson before, which shows people who are not there.
    Frozen,
    /// The agent starts on a machine whose clock is wrong.
    WrongClock,
    /// The server is killed in the middle of the lesson.
    ServerKilled,
    /// The agent is killed in the middle of the lesson, and starts after its end.
    PowerCut,
}

/// Something that goes wrong somewhere in a round.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    pub(super) kind: Kind,
    /// Where; everywhere where it is the server.
    pub(super) room: usize,
    pub(super) round: usize,
}

impl Fault {
    pub(super) fn offline(room: usize, round: usize) -> Self {
        Self { kind: Kind::Offline, room, round }
    }

    pub(super) fn covered(room: usize, round: usize) -> Self {
        Self { kind: Kind::Covered, room, round }
    }

    pub(super) fn frozen(room: usize, round: usize) -> Self {
        Self { kind: Kind::Frozen, room, round }
    }

    pub(super) fn wrong_clock(room: usize, round: usize) -> Self {
        Self { kind: Kind::WrongClock, room, round }
    }

    pub(super) fn server_killed(round: usize) -> Self {
        Self { kind: Kind::ServerKilled, room: 0, round }
    }

    pub(super) fn power_cut(room: usize, round: usize) -> Self {
        Self { kind: Kind::PowerCut, room, round }
    }

    /// Whether nobody can know of somebody who wasn't seen that they were not there.
    pub(super) fn blinds(self) -> bool {
        match self.kind {
            Kind::Covered | Kind::Frozen | Kind::PowerCut | Kind::WrongClock => true,
            Kind::Offline | Kind::ServerKilled => false,
        }
    }
}
