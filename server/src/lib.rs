//! The CAVS server: ingest, matching, enrollment and review over gRPC.
//!
//! `grpc` (thin) calls `app` (what the server does), which uses `domain` (pure), `store` (Postgres),
//! the gallery, `vault` (encryption) and `security`.

pub mod app;
pub mod domain;
pub mod grpc;
pub mod security;
pub mod store;
pub mod vault;
