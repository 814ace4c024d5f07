//! The agent in the room: source, vision, spool, uplink.
//!
//! Frames of a [`source`] go through the motion [`gate`], [`vision`] and [`track`] (together the
//! [`stages`]) into the [`spool`], from where the [`uplink`] offers them to the server until it has
//! acknowledged them; [`agent`] owns these stages and the queues between them, [`proxy`] those of
//! cameras that run no networks. [`clock`] says when things happened. [`analyze`] runs the
//! vision part alone, over files. Nothing but the binary ends the process, and the agent never talks
//! to a database server.

pub mod agent;
pub mod analyze;
pub mod backup;
pub mod clock;
pub mod config;
pub mod doctor;
mod files;
pub mod gate;
pub mod health;
pub mod logging;
pub mod proxy;
mod recorder;
pub mod settings;
pub mod sighting;
pub mod source;
pub mod spool;
pub mod stages;
mod systemd;
pub mod track;
pub mod uplink;
pub mod vision;
pub mod watch;
