use std::time::Duration;

use jiff::SignedDuration;

/// How a camera behaves. The default is a good camera on a good network.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Behaviour {
    /// Time from one picture to the next.
    pub interval: Duration,
    /// What its radio carries upwards, in bytes a second; unbounded where it is `None`. One board was measured at
    /// 19 kB/s over TLS.
    pub rate: Option<u32>,
    /// Most bytes that leave in one TCP segment.
    pub segment: usize,
    /// Size of its TLS buffers: no record that it sends is longer, in bytes. rustls wants at least 32.
    pub tls_record: Option<usize>,
    /// Sends bodies in chunks, without saying their length before.
    pub chunked: bool,
    /// How far its clock is wrong. `None`: it has never heard the time, and says nothing about it.
    pub clock_error: Option<SignedDuration>,
    /// Of so many pictures, one is cut off in the middle and the connection dropped.
    pub cut_one_in: Option<u32>,
    /// Of so many pictures, one is cut off in the middle and sent as if it were whole.
    pub truncate_one_in: Option<u32>,
    /// Of so many answers, one is lost on the way, so that its picture is sent again.
    pub lose_answer_one_in: Option<u32>,
    /// How often a picture is tried before it is given up.
    pub attempts: u32,
    /// How long it waits for an answer.
    pub patience: Duration,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(1),
            rate: None,
            segment: 1440,
            tls_record: None,
            chunked: false,
            clock_error: Some(SignedDuration::ZERO),
            cut_one_in: None,
            truncate_one_in: None,
            lose_answer_one_in: None,
            attempts: 5,
            patience: Duration::from_secs(30),
        }
    }
}

impl Behaviour {
    /// A real board on a bad day: a slow radio, small buffers, a clock that was never set.
    #[must_use]
    pub fn poor() -> Self {
        Self {
            rate: Some(20_000),
            segment: 536,
            tls_record: Some(512),
            chunked: true,
            clock_error: None,
            ..Self::default()
        }
    }
}

/// Whether the picture of this number is the one of `every` that something happens to.
pub(crate) fn is_affected(every: Option<u32>, number: u64) -> bool {
    every.is_some_and(|every| number % u64::from(every.max(1)) == u64::from(every.max(1)) - 1)
}
