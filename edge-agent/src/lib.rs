//! The agent in the room: source, vision, spool, uplink.
