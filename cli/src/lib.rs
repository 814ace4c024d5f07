//! The cavs command line.
