//! The cavs.v1 protocol: generated types and services, typed ids, descriptor set. No I/O.
