//! The synthetic classroom: people who do not exist.
