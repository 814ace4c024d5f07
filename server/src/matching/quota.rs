use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use cavs_types::UserId;

/// What a quota is of.
const MINUTE: Duration = Duration::from_secs(60);
/// Users that are remembered; who has asked nothing for a minute is forgotten where there are more.
const REMEMBERED: usize = 10_000;

/// How often each user may ask: so many times at once, and as many again spread over each minute.
#[derive(Debug)]
pub struct Quota {
    a_minute: NonZeroU32,
    /// By when each would have got back all that they have used.
    full_at: Mutex<HashMap<UserId, Instant>>,
}

impl Quota {
    /// So many calls a minute.
    #[must_use]
    pub fn new(a_minute: NonZeroU32) -> Self {
        Self { a_minute, full_at: Mutex::default() }
    }

    /// Takes one call of a user's.
    ///
    /// # Errors
    /// After how long there is another one.
    pub fn take(&self, user: UserId, now: Instant) -> Result<(), Duration> {
        let each = MINUTE / self.a_minute.get();
        let mut users = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        if users.len() >= REMEMBERED {
            users.retain(|_, full_at| *full_at > now);
        }
        // The generic cell rate algorithm (ITU-T I.371): used calls come back one after the other.
        let full_at = users.get(&user).copied().unwrap_or(now).max(now) + each;
        match (full_at - now).checked_sub(MINUTE) {
            Some(over) if !over.is_zero() => Err(over),
            _ => {
                users.insert(user, full_at);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn quota(a_minute: u32) -> Quota {
        Quota::new(NonZeroU32::new(a_minute).unwrap())
    }

    #[test]
    fn each_user_has_calls_of_their_own_and_gets_them_back() {
        let (quota, now) = (quota(6), Instant::now());
        let (ada, bob) = (UserId::generate(), UserId::generate());
        let taken = (0..10).filter(|_| quota.take(ada, now).is_ok()).count();
        assert_eq!(taken, 6);
        assert_eq!(quota.take(ada, now), Err(Duration::from_secs(10)));
        assert_eq!(quota.take(bob, now), Ok(()));
        let later = now + Duration::from_secs(10);
        assert_eq!((quota.take(ada, later), quota.take(ada, later).is_err()), (Ok(()), true));
        assert_eq!(quota.take(ada, now + Duration::from_secs(600)), Ok(()));
    }

    proptest! {
        #[test]
        fn no_minute_has_more_than_twice_as_many(a_minute in 1_u32..50, steps in prop::collection::vec(0_u64..5_000, 1..200)) {
            let (quota, user, mut now) = (quota(a_minute), UserId::generate(), Instant::now());
            let mut taken: Vec<Instant> = Vec::new();
            for step in steps {
                now += Duration::from_millis(step);
                match quota.take(user, now) {
                    Ok(()) => taken.push(now),
                    // Whoever waits as long as they are told has another one.
                    Err(wait) => {
                        now += wait;
                        prop_assert_eq!(quota.take(user, now), Ok(()));
                        taken.push(now);
                    }
                }
                let lately = taken.iter().filter(|at| now - **at < MINUTE).count();
                prop_assert!(lately <= 2 * a_minute as usize);
            }
        }
    }
}
