//! How many connections there are, and which of them have to go.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

/// How long a connection stays on which something did not come in time: for the answer to be sent.
/// One with other requests under way stays for them.
const ANSWER_TIME: Duration = Duration::from_secs(1);

/// How often a connection without a deadline is looked at.
const RECHECK: Duration = Duration::from_secs(3600);

/// How many connections a listener has at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections, newcomers included.
    pub connections: usize,
    /// Connections of one address.
    pub of_address: usize,
    /// That have not proved yet who they are, in all.
    pub newcomers: usize,
    /// That have not proved yet who they are, of one address.
    pub newcomers_of_address: usize,
}

/// How long a connection may keep us waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// A newcomer, each time.
    pub newcomer: Duration,
    /// A newcomer, from its first moment on.
    pub newcomer_in_all: Duration,
    /// Somebody known who asks nothing; `None` where they may stay.
    pub idle: Option<Duration>,
}

impl Limits {
    /// Most newcomers of a listener: each holds some 50 KiB, as TLS goes.
    const NEWCOMERS: usize = 1024;
    /// Most newcomers of an address. Many devices may be behind one, and come all at once.
    const NEWCOMERS_OF_ADDRESS: usize = 256;

    /// The limits that go with so many connections.
    #[must_use]
    pub fn of(connections: usize) -> Self {
        let connections = connections.max(1);
        Self {
            connections,
            // One address may be that of a router with a whole school behind it.
            of_address: (connections / 4 * 3).max(1),
            newcomers: (connections / 2).clamp(1, Self::NEWCOMERS),
            newcomers_of_address: (connections / 4).clamp(1, Self::NEWCOMERS_OF_ADDRESS),
        }
    }
}

impl Default for Deadlines {
    fn default() -> Self {
        Self { newcomer: Duration::from_secs(10), newcomer_in_all: Duration::from_secs(30), idle: None }
    }
}

/// The slots that there are for connections.
#[derive(Debug, Clone)]
pub struct Slots(Arc<SharedSlots>);

#[derive(Debug)]
struct SharedSlots {
    limits: Limits,
    deadlines: Deadlines,
    table: Mutex<ConnectionTable>,
}

/// A connection's slot, left when it is dropped.
#[derive(Debug)]
pub struct Slot {
    shared: Arc<SharedSlots>,
    id: u64,
    opened_at: Instant,
    /// Somebody else needs the slot.
    evicted: CancellationToken,
    answer_overdue: Notify,
}

/// We are at work for a connection, which is not idle until this is dropped.
#[derive(Debug)]
pub struct Busy(Arc<Slot>);

/// Whose turn it is on a connection, and since when.
#[derive(Debug)]
struct ConnectionEntry {
    address: IpAddr,
    /// Somebody has proved who they are.
    known: bool,
    /// How many [`Busy`] there are.
    busy: usize,
    /// When the connection came, or did something last.
    last: Instant,
    /// Its turn among those who keep us waiting.
    turn: u64,
    evicted: CancellationToken,
}

#[derive(Debug, Default, Clone, Copy)]
struct ConnectionCount {
    all: usize,
    newcomers: usize,
}

#[derive(Debug, Default)]
struct ConnectionTable {
    next: u64,
    entries: HashMap<u64, ConnectionEntry>,
    /// Who keeps us waiting, in the order in which they go: newcomers first, then by age.
    waiting: BTreeMap<(bool, u64), u64>,
    addresses: HashMap<IpAddr, ConnectionCount>,
    newcomers: usize,
}

impl Slots {
    /// Slots for as many connections as the limits say, all of them free.
    #[must_use]
    pub fn new(limits: Limits, deadlines: Deadlines) -> Self {
        Self(Arc::new(SharedSlots { limits, deadlines, table: Mutex::default() }))
    }

    /// A slot for a new connection of an address. Where there are too many, somebody goes who keeps
    /// us waiting; `None` where nobody does.
    #[must_use]
    pub fn enter(&self, address: IpAddr) -> Option<Arc<Slot>> {
        let address = network(address);
        let limits = self.0.limits;
        let mut table = self.0.table.lock();
        let of_address = table.addresses.get(&address).copied().unwrap_or_default();
        if of_address.newcomers >= limits.newcomers_of_address && !table.evict(Some(address), true) {
            return None;
        }
        if table.newcomers >= limits.newcomers && !table.evict(None, true) {
            return None;
        }
        let of_address = table.addresses.get(&address).copied().unwrap_or_default();
        if of_address.all >= limits.of_address && !table.evict(Some(address), false) {
            return None;
        }
        if table.entries.len() >= limits.connections && !table.evict(None, false) {
            return None;
        }
        let (id, now, evicted) = (table.number(), Instant::now(), CancellationToken::new());
        let count = table.addresses.entry(address).or_default();
        (count.all, count.newcomers) = (count.all + 1, count.newcomers + 1);
        table.newcomers += 1;
        table.waiting.insert((false, id), id);
        let entry =
            ConnectionEntry { address, known: false, busy: 0, last: now, turn: id, evicted: evicted.clone() };
        table.entries.insert(id, entry);
        drop(table);
        let shared = Arc::clone(&self.0);
        Some(Arc::new(Slot { shared, id, opened_at: now, evicted, answer_overdue: Notify::new() }))
    }

    /// Closes the newcomer that has kept us waiting longest, where there is one.
    pub fn make_room(&self) {
        self.0.table.lock().evict(None, true);
    }

    /// Connections and, of them, newcomers.
    #[must_use]
    pub fn count(&self) -> (usize, usize) {
        let table = self.0.table.lock();
        (table.entries.len(), table.newcomers)
    }
}

impl ConnectionTable {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Whether somebody went. They leave in a moment, and are not waited for.
    fn evict(&mut self, address: Option<IpAddr>, newcomers_only: bool) -> bool {
        let found = self
            .waiting
            .iter()
            .take_while(|((known, _), _)| !(newcomers_only && *known))
            .map(|(_, id)| *id)
            .find(|id| {
                address.is_none_or(|wanted| self.entries.get(id).is_some_and(|e| e.address == wanted))
            });
        let Some(entry) = found.and_then(|id| self.remove(id)) else { return false };
        entry.evicted.cancel();
        true
    }

    fn remove(&mut self, id: u64) -> Option<ConnectionEntry> {
        let entry = self.entries.remove(&id)?;
        self.waiting.remove(&(entry.known, entry.turn));
        let newcomer = usize::from(!entry.known);
        self.newcomers = self.newcomers.saturating_sub(newcomer);
        if let Some(count) = self.addresses.get_mut(&entry.address) {
            count.all = count.all.saturating_sub(1);
            count.newcomers = count.newcomers.saturating_sub(newcomer);
            if count.all == 0 {
                self.addresses.remove(&entry.address);
            }
        }
        Some(entry)
    }

    /// Changes an entry, and its place among those who wait with it.
    fn change(&mut self, id: u64, change: impl FnOnce(&mut ConnectionEntry)) {
        let turn = self.number();
        let Some(entry) = self.entries.get_mut(&id) else { return };
        self.waiting.remove(&(entry.known, entry.turn));
        let was_known = entry.known;
        change(entry);
        (entry.turn, entry.last) = (turn, Instant::now());
        let (known, busy, address) = (entry.known, entry.busy, entry.address);
        if busy == 0 {
            self.waiting.insert((known, turn), id);
        }
        if known && !was_known {
            self.newcomers = self.newcomers.saturating_sub(1);
            if let Some(count) = self.addresses.get_mut(&address) {
                count.newcomers = count.newcomers.saturating_sub(1);
            }
        }
    }
}

impl Slot {
    /// Somebody on the connection has proved who they are, and is worked for.
    #[must_use]
    pub fn authorised(self: &Arc<Self>) -> Busy {
        self.shared.table.lock().change(self.id, |entry| {
            entry.known = true;
            entry.busy += 1;
        });
        Busy(Arc::clone(self))
    }

    /// Whoever is on the connection waits for us now, not we for them: they are not to suffer for it.
    #[must_use]
    pub fn processing(self: &Arc<Self>) -> Busy {
        self.shared.table.lock().change(self.id, |entry| entry.busy += 1);
        Busy(Arc::clone(self))
    }

    /// Whoever is on the connection has said something, and has time for the next thing.
    pub fn made_progress(&self) {
        self.shared.table.lock().change(self.id, |_| ());
    }

    /// Something on the connection did not come in time: it is answered, and the connection closed.
    pub fn too_slow(&self) {
        self.answer_overdue.notify_one();
    }

    /// Returns when the connection has to go.
    pub async fn ended(&self) {
        tokio::select! {
            () = self.evicted.cancelled() => {}
            () = self.past_deadline() => {}
        }
    }

    /// Returns when the connection has been idle, or unknown, for too long, or was too slow.
    async fn past_deadline(&self) {
        while let Some(deadline) = self.deadline() {
            tokio::select! {
                () = sleep_until(deadline) => {}
                () = self.answer_overdue.notified() => {
                    sleep(ANSWER_TIME).await;
                    if !self.is_busy() {
                        return;
                    }
                }
            }
        }
    }

    /// Until when the connection may stay without saying anything; `None` where that is over.
    fn deadline(&self) -> Option<Instant> {
        let (now, deadlines) = (Instant::now(), self.shared.deadlines);
        let table = self.shared.table.lock();
        let entry = table.entries.get(&self.id)?;
        let deadline = match (entry.known, deadlines.idle) {
            // What is under way has time limits of its own.
            _ if entry.busy > 0 => return Some(now + deadlines.idle.unwrap_or(deadlines.newcomer)),
            (true, None) => return Some(now + RECHECK),
            (true, Some(idle)) => entry.last + idle,
            (false, _) => (entry.last + deadlines.newcomer).min(self.opened_at + deadlines.newcomer_in_all),
        };
        (deadline > now).then_some(deadline)
    }

    fn is_busy(&self) -> bool {
        self.shared.table.lock().entries.get(&self.id).is_some_and(|entry| entry.busy > 0)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.shared.table.lock().remove(self.id);
    }
}

impl Busy {
    /// As [`Slot::too_slow`].
    pub fn too_slow(&self) {
        self.0.too_slow();
    }
}

impl Clone for Busy {
    fn clone(&self) -> Self {
        self.0.processing()
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.shared.table.lock().change(self.0.id, |entry| entry.busy = entry.busy.saturating_sub(1));
    }
}

/// What counts as one address: with IPv6, everybody has a whole network of them.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            IpAddr::V6(std::net::Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)))
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const TWO: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    fn limits(connections: usize, newcomers: usize, newcomers_of_address: usize) -> Limits {
        Limits { connections, of_address: connections, newcomers, newcomers_of_address }
    }

    fn slots(limits: Limits) -> Slots {
        Slots::new(limits, Deadlines { idle: Some(Duration::from_secs(10)), ..Deadlines::default() })
    }

    fn gone(slot: &Arc<Slot>) -> bool {
        slot.evicted.is_cancelled()
    }

    #[tokio::test]
    async fn newcomers_make_room_and_those_at_work_stay() {
        let slots = slots(limits(3, 3, 3));
        let (one, two, three) =
            (slots.enter(ONE).unwrap(), slots.enter(ONE).unwrap(), slots.enter(ONE).unwrap());
        let busy = one.authorised();
        let four = slots.enter(TWO).unwrap();
        assert!(gone(&two), "the oldest newcomer");
        assert!(!gone(&one) && !gone(&three));
        let (_busy, _too) = (three.authorised(), four.authorised());
        assert!(slots.enter(ONE).is_none(), "all of them are worked for");
        drop(busy);
        assert!(slots.enter(TWO).is_some());
        assert!(gone(&one), "known, but idle");
        assert!(!gone(&three) && !gone(&four));
    }

    #[tokio::test]
    async fn an_address_drives_out_its_own() {
        let slots = slots(limits(100, 100, 3));
        let honest = slots.enter(TWO).unwrap();
        let flood: Vec<_> = (0..50).map(|_| slots.enter(ONE).unwrap()).collect();
        assert_eq!(flood.iter().filter(|slot| !gone(slot)).count(), 3);
        assert!(!gone(&honest));
        assert_eq!(slots.count(), (4, 4));
    }

    #[tokio::test]
    async fn who_waits_for_us_does_not_suffer_for_it() {
        let slots = slots(limits(10, 2, 2));
        let (one, two) = (slots.enter(ONE).unwrap(), slots.enter(ONE).unwrap());
        let (turn, other) = (one.processing(), two.processing());
        assert!(slots.enter(ONE).is_none());
        drop(turn);
        drop(other);
        // Who has said something is younger than who has not.
        one.made_progress();
        let _three = slots.enter(ONE).unwrap();
        assert!(gone(&two) && !gone(&one));
    }

    #[tokio::test(start_paused = true)]
    async fn the_idle_and_the_silent_overstay() {
        let deadlines = Deadlines::default().newcomer;
        let slots = slots(limits(3, 3, 3));
        let begun = Instant::now();
        let silent = slots.enter(ONE).unwrap();
        silent.ended().await;
        assert_eq!(begun.elapsed(), deadlines);
        let working = slots.enter(ONE).unwrap();
        let busy = working.authorised();
        let again = busy.clone();
        let work = async {
            sleep(Duration::from_secs(60)).await;
            drop(busy);
            sleep(Duration::from_secs(60)).await;
            drop(again);
            Instant::now()
        };
        let ((), done) = tokio::join!(working.ended(), work);
        assert!(done.elapsed() >= deadlines && done.elapsed() <= 2 * deadlines, "{:?}", done.elapsed());
        let answer_overdue = slots.enter(ONE).unwrap();
        let (busy, begun) = (answer_overdue.authorised(), Instant::now());
        answer_overdue.too_slow();
        drop(busy);
        answer_overdue.ended().await;
        assert_eq!(begun.elapsed(), ANSWER_TIME);
        // A gateway's other frames are not to suffer for one.
        let answer_overdue = slots.enter(ONE).unwrap();
        let (_other, begun) = (answer_overdue.authorised(), Instant::now());
        answer_overdue.too_slow();
        let stays = tokio::time::timeout(Duration::from_secs(60), answer_overdue.ended()).await;
        assert!(stays.is_err() && begun.elapsed() >= Duration::from_secs(60));
    }

    #[tokio::test(start_paused = true)]
    async fn talking_without_an_account_is_no_way_to_stay() {
        let slots = Slots::new(limits(3, 3, 3), Deadlines::default());
        let begun = Instant::now();
        let slot = slots.enter(ONE).unwrap();
        let talk = async {
            loop {
                sleep(Duration::from_secs(5)).await;
                slot.made_progress();
            }
        };
        tokio::select! {
            () = slot.ended() => {}
            () = talk => {}
        }
        assert_eq!(begun.elapsed(), Deadlines::default().newcomer_in_all);
        // Who is known may stay.
        let known = slots.enter(ONE).unwrap();
        drop(known.authorised());
        assert!(tokio::time::timeout(Duration::from_secs(86_400), known.ended()).await.is_err());
    }

    #[test]
    fn an_ipv6_network_is_one_address() {
        let address = |text: &str| network(text.parse().unwrap());
        assert_eq!(address("2001:db8::1"), address("2001:db8::ffff:ffff:ffff:ffff"));
        assert_ne!(address("2001:db8::1"), address("2001:db8:0:1::1"));
        assert_eq!(address("::ffff:10.0.0.1"), ONE);
    }

    proptest! {
        /// Whatever comes and goes, no limit is exceeded, and nothing is left in the end.
        #[test]
        fn no_limit_is_ever_exceeded(steps in prop::collection::vec((0u8..6, 0usize..12, 0u8..3), 1..200)) {
            let limits = Limits { connections: 8, of_address: 5, newcomers: 5, newcomers_of_address: 3 };
            let slots = Slots::new(limits, Deadlines::default());
            let (mut held, mut busy) = (Vec::new(), Vec::new());
            for (step, which, host) in steps {
                match step {
                    0..=2 => held.extend(slots.enter(IpAddr::from([10, 0, 0, host]))),
                    3 if !held.is_empty() => { let at = which % held.len(); held.swap_remove(at); }
                    4 if !held.is_empty() => busy.push(held[which % held.len()].authorised()),
                    5 if !busy.is_empty() => { let at = which % busy.len(); busy.swap_remove(at); }
                    _ => {}
                }
                let table = slots.0.table.lock();
                prop_assert!(table.entries.len() <= limits.connections && table.newcomers <= limits.newcomers);
                prop_assert_eq!(table.newcomers, table.entries.values().filter(|e| !e.known).count());
                prop_assert_eq!(table.waiting.len(), table.entries.values().filter(|e| e.busy == 0).count());
                for (address, count) in &table.addresses {
                    let of = |known: bool| table.entries.values().filter(|e| e.address == *address && e.known == known).count();
                    prop_assert_eq!((count.newcomers, count.all), (of(false), of(false) + of(true)));
                    prop_assert!(count.newcomers <= 3 && count.all <= 5);
                }
            }
            drop((held, busy));
            prop_assert_eq!(slots.count(), (0, 0));
            prop_assert!(slots.0.table.lock().addresses.is_empty());
        }
    }
}
