//! The `cavs.v1` protocol: generated types and services, descriptor set. No I/O.
//!
//! Conversions between generated types and a crate's own ones live beside the service that uses
//! them; this crate has only what every party needs: those of the types of `cavs-types`, timestamps, and the
//! details of errors.

mod error;
mod resource;
mod time;
mod vocabulary;

/// Generated types and services of `cavs.v1`.
#[allow(missing_docs, clippy::all, reason = "generated; documented in the .proto files")]
pub mod v1 {
    tonic::include_proto!("cavs.v1");
}

pub use error::{
    ERROR_DOMAIN, code_of, complete_error, error_reason, invalid_argument, status, status_of,
    status_with_retry,
};
pub use resource::OneResource;
pub use time::{from_timestamp, to_timestamp};
pub use vocabulary::{Unspecified, WireEnum, enum_from_wire, enum_to_wire};

/// The compiled descriptors of `cavs.v1`, for server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/cavs.v1.bin"));

#[cfg(test)]
mod tests {
    use prost::Message;
    use prost_types::FileDescriptorSet;

    use super::*;

    /// Files of what devices say: their protocol may change without a generated client of people's noticing.
    const OF_DEVICES: [&str; 2] = ["cavs/v1/ingest.proto", "cavs/v1/capture.proto"];

    #[test]
    fn what_people_call_imports_nothing_of_the_device_protocol() {
        let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
        let file = |name: &str| set.file.iter().find(|file| file.name() == name).unwrap();
        let public = set.file.iter().filter(|file| !OF_DEVICES.contains(&file.name()));
        for start in public {
            let mut waiting = vec![start.name()];
            while let Some(name) = waiting.pop() {
                assert!(!OF_DEVICES.contains(&name), "{} imports {name}", start.name());
                waiting.extend(file(name).dependency.iter().map(String::as_str));
            }
        }
        assert!(OF_DEVICES.iter().all(|name| file(name).package() == "cavs.v1"));
    }
}
