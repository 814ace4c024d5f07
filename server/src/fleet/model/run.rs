//! Which start of an agent is speaking, and what follows where two of them live at once.

use std::time::Duration;

/// How long a start that took another one's place keeps it, although the other one wants it back: two
/// agents with one certificate take turns, and don't spend their time on connecting.
pub const HOLDS_FOR: Duration = Duration::from_secs(60);

/// A start that said nothing for so long holds nobody's place any more. Agents send a heartbeat every ten
/// seconds.
pub const ALIVE_FOR: Duration = Duration::from_secs(25);

/// A greeting of a superseded start that comes sooner than this after it was superseded may have been
/// under way before that.
const GREETING_DELAY: Duration = Duration::from_secs(2);

/// As [`GREETING_DELAY`], for messages on an open stream: longer than a message may wait here.
const MESSAGE_DELAY: Duration = Duration::from_secs(30);

/// A start of an agent: what it numbers its sightings under. Drawn at random by the agent, so that no
/// two starts anywhere have the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RunId([u8; 16]);

impl RunId {
    /// From 16 bytes that are not all zero; the nil id is that of sightings from before there were any.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        <[u8; 16]>::try_from(bytes).ok().filter(|bytes| *bytes != [0; 16]).map(Self)
    }

    /// What stands for the start of an agent that has no run id.
    #[must_use]
    pub fn of_epoch(boot_epoch: u64) -> Self {
        let mut bytes = *b"epoch :\0\0\0\0\0\0\0\0\0";
        bytes[8..].copy_from_slice(&boot_epoch.to_be_bytes());
        Self(bytes)
    }

    /// From the digest of a sighting's content, in the place of a start that has no id.
    #[must_use]
    pub const fn of_digest(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// How things stand when a start of an agent greets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Another start is the one that was welcomed last.
    pub other_speaks: bool,
    /// That one was welcomed less than [`HOLDS_FOR`] ago, has not ended its stream, and was heard within
    /// [`ALIVE_FOR`].
    pub other_holds: bool,
    /// How long ago the one that greets was superseded, where it was.
    pub superseded_for: Option<Duration>,
}

/// What follows from a greeting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admission {
    /// It may speak now.
    pub welcome: bool,
    /// Two starts are alive: the device is connected twice.
    pub twice: bool,
}

impl Standing {
    /// Judges a greeting. A start that was never seen takes the place of the one before: that is likely
    /// to be dead. One that comes back after that proves the opposite.
    #[must_use]
    pub fn greeted(&self) -> Admission {
        let back = self.superseded_for.filter(|_| self.other_speaks);
        Admission {
            welcome: back.is_none() || !self.other_holds,
            twice: back.is_some_and(|age| age >= GREETING_DELAY),
        }
    }
}

/// Whether a message on the stream of a superseded start proves that two starts are alive.
#[must_use]
pub fn message_proves_two(superseded_for: Option<Duration>) -> bool {
    superseded_for.is_some_and(|age| age >= MESSAGE_DELAY)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_a_start_that_comes_back_is_a_second_one() {
        let new = Standing { other_speaks: true, other_holds: true, superseded_for: None };
        assert_eq!(new.greeted(), Admission { welcome: true, twice: false }, "a restart");
        let back = Standing { superseded_for: Some(Duration::from_secs(6)), ..new };
        assert_eq!(back.greeted(), Admission { welcome: false, twice: true });
        let free = Standing { other_holds: false, ..back };
        assert_eq!(free.greeted(), Admission { welcome: true, twice: true }, "their turn");
        let late = Standing { superseded_for: Some(Duration::from_millis(300)), ..new };
        assert!(!late.greeted().twice, "it may have been under way");
        let same = Standing { other_speaks: false, other_holds: false, superseded_for: None };
        assert_eq!(same.greeted(), Admission { welcome: true, twice: false }, "the same one again");
        assert!(message_proves_two(Some(Duration::from_secs(40))) && !message_proves_two(None));
        assert!(!message_proves_two(Some(Duration::from_secs(1))));
    }

    proptest! {
        #[test]
        fn ids_are_16_bytes_that_are_not_nothing(bytes in prop::collection::vec(any::<u8>(), 0..20), epoch: u64) {
            prop_assert_eq!(RunId::from_bytes(&bytes).is_some(), bytes.len() == 16 && bytes != [0; 16]);
            prop_assert_ne!(RunId::of_epoch(epoch), RunId::of_epoch(epoch.wrapping_add(1)));
        }
    }
}
