//! The CAVS server: ingest, matching, enrollment and review over gRPC.
