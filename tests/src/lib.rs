//! Whole-system tests with real processes, databases and certificates.
