//! Listeners that nobody can fill up, for the server and the proxy alike.
//!
//! A connection is a *newcomer* until somebody on it has proved who they are. Newcomers have a
//! deadline, a limit in all and a limit an address; where there are too many, the one that has kept
//! us waiting longest is closed. So whoever opens connections and says nothing drives out their own
//! kind, and nobody who works.

mod listener;
mod refusals;
mod slots;

pub use listener::{Http, Listener, Peer, TlsSource, fixed_tls, raise_descriptors};
pub use refusals::{Refusals, SECURITY};
pub use slots::{Busy, Deadlines, Limits, Slot, Slots};
