//! How enums and digests are written in columns.

use cavs_embedding::PackDigest;

use super::StoreError;
use crate::domain::{ClockTrust, Decision, DeviceKind, DeviceStatus, Role, Verdict};

macro_rules! text_enum {
    ($name:ident { $($variant:ident = $text:literal),* }) => {
        impl Column for $name {
            fn text(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }

            fn read(table: &'static str, column: &'static str, text: &str) -> Result<Self, StoreError> {
                match text {
                    $($text => Ok(Self::$variant),)*
                    other => Err(StoreError::Damaged { table, column, value: other.to_owned() }),
                }
            }
        }
    };
}

/// An enum that is stored as text.
pub(super) trait Column: Sized {
    fn text(self) -> &'static str;
    fn read(table: &'static str, column: &'static str, text: &str) -> Result<Self, StoreError>;
}

text_enum!(Decision { Accepted = "accepted", Pending = "pending", Unknown = "unknown" });
text_enum!(Verdict { Approved = "approved", Rejected = "rejected", Flagged = "flagged" });
text_enum!(DeviceKind { Agent = "agent", Esp32Cam = "esp32_cam" });
text_enum!(DeviceStatus { Active = "active", Revoked = "revoked" });
text_enum!(ClockTrust {
    Unknown = "unknown",
    Synchronised = "synchronised",
    Corrected = "corrected",
    Unsynchronised = "unsynchronised"
});
text_enum!(Role { Admin = "admin", Reviewer = "reviewer", Viewer = "viewer" });

pub(super) fn read_digest(table: &'static str, bytes: &[u8]) -> Result<PackDigest, StoreError> {
    let damaged =
        || StoreError::Damaged { table, column: "pack_digest", value: format!("{} bytes", bytes.len()) };
    Ok(PackDigest::from_bytes(bytes.try_into().map_err(|_| damaged())?))
}

/// Counters and sequence numbers are `bigint` in the database: what exceeds it is cut off there.
pub(super) fn to_bigint(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// As [`to_bigint`], for `integer`.
pub(super) fn to_integer(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
