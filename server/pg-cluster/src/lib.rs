//! A private PostgreSQL cluster made from the machine's own binaries.
