use std::{fmt, str::FromStr};

use thiserror::Error;
use uuid::Uuid;

/// A text that is no id.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is not a UUID")]
pub struct IdError(String);

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new id: UUIDv7, so that later ids sort after earlier ones.
            #[must_use]
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }

            /// The id that a UUID is.
            #[must_use]
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The id as a UUID.
            #[must_use]
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                // Long input is cut: the error repeats it.
                Uuid::try_parse(text).map(Self).map_err(|_| IdError(text.chars().take(64).collect()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

ids! {
    /// What somebody says against their mark.
    AppealId
    /// Somebody has shown that they are there by something else than their face.
    CheckInId
    /// A person's word on a mark.
    CorrectionId
    /// A file or an address that sessions are imported from, again and again.
    CalendarId
    /// When a group is expected somewhere: what attendance is taken of.
    ClassSessionId
    /// A key that seals faces, and that can be destroyed alone.
    DataKeyId
    /// An agent or a camera.
    DeviceId
    /// A time in which somebody need not be there.
    ExcuseId
    /// Those who are expected together: a class, a course, a team, a shift.
    GroupId
    /// Days without sessions.
    HolidayId
    /// One verdict on a sighting, or the taking back of one.
    ReviewId
    /// Where devices and sessions are.
    RoomId
    /// One sighting.
    SightingId
    /// A school or a company location: what shares a gallery, students' numbers, rooms and thresholds.
    SiteId
    /// Somebody who is recognised.
    StudentId
    /// An enrolled embedding.
    TemplateId
    /// A school year, a semester, a quarter.
    TermId
    /// Somebody who logs in.
    UserId
    /// One event for one webhook.
    WebhookDeliveryId
    /// A program that is told of what happens.
    WebhookId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_round_trip_and_sort_by_age() {
        let (first, second) = (StudentId::generate(), StudentId::generate());
        assert!(first < second);
        assert_eq!(first.to_string().parse(), Ok(first));
        assert_eq!("nobody".parse::<StudentId>().unwrap_err().to_string(), "\"nobody\" is not a UUID");
    }
}
