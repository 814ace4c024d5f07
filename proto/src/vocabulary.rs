use cavs_types::{
    AppealState, CheckInKind, ClockTrust, ConfusableKind, CorrectionSource, CredentialKind, Decision,
    DeliveryState, DeviceKind, DeviceRole, DeviceStatus, EnrollmentGate, ErasureState, GalleryMode, Grouping,
    ImportFormat, MailState, Mark, MatchKind, MatchScope, PendingCounts, PhotoConsent, ProtocolError,
    Quality, QueueOrder, RateBasis, RetentionState, Role, RosterFormat, SessionFormat, SessionSource,
    SessionState, Verdict, WatchState, WebhookEvent,
};
use thiserror::Error;

use crate::v1;

/// An enum of the wire that is not set, where it has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("is required")]
pub struct Unspecified;

/// A vocabulary of `cavs-types` that is an enum of `cavs.v1`, too.
pub trait WireEnum: Copy + Into<<Self as WireEnum>::Wire> {
    /// The enum of `cavs.v1`, with a zero that says nothing.
    type Wire: TryFrom<i32> + Into<i32> + TryInto<Self, Error = Unspecified>;
}

/// The value that a message's field holds.
///
/// # Errors
/// `Missing` where it is unspecified, `Invalid` where this version knows no such value.
pub fn enum_from_wire<T: WireEnum>(field: &'static str, number: i32) -> Result<T, ProtocolError> {
    let wire = T::Wire::try_from(number)
        .map_err(|_| ProtocolError::invalid(field, format_args!("{number} is no known value")))?;
    wire.try_into().map_err(|Unspecified| ProtocolError::Missing { field })
}

/// What a message's field holds for a value.
pub fn enum_to_wire<T: WireEnum>(value: T) -> i32 {
    let wire: T::Wire = value.into();
    wire.into()
}

macro_rules! on_the_wire {
    ($($name:ident { $($variant:ident)* })*) => {$(
        impl WireEnum for $name {
            type Wire = v1::$name;
        }

        impl From<$name> for v1::$name {
            fn from(value: $name) -> Self {
                match value {
                    $($name::$variant => Self::$variant,)*
                }
            }
        }

        impl TryFrom<v1::$name> for $name {
            type Error = Unspecified;

            fn try_from(wire: v1::$name) -> Result<Self, Unspecified> {
                match wire {
                    $(v1::$name::$variant => Ok(Self::$variant),)*
                    v1::$name::Unspecified => Err(Unspecified),
                }
            }
        }
    )*};
}

on_the_wire! {
    Decision { Accepted Pending Unknown }
    QueueOrder { OldestFirst LeastCertainFirst }
    ConfusableKind { Twins Confused }
    EnrollmentGate { Off Standard Strict }
    MatchKind { Identify Verify }
    MatchScope { Roster Site }
    CredentialKind { Card Pin }
    PhotoConsent { Unknown Given Refused }
    ImportFormat { Csv Oneroster }
    Verdict { Approved Rejected Flagged }
    ErasureState { Pending Purging Purged }
    RetentionState { Running Done Failed }
    Role { Admin Reviewer Viewer Capture }
    DeviceKind { Agent Esp32Cam }
    DeviceStatus { Active Inactive Maintenance Revoked }
    GalleryMode { Auto Exact Hnsw }
    Grouping { Best Mean }
    RateBasis { Gallery Pack Floor }
    WatchState {
        Watching CameraFailed CameraFrozen CameraCovered Overloaded DiskFull SightingsLost ClockWrong PackNotServed
        Maintenance
    }
    DeviceRole { Entry Exit Inside }
    MailState { Waiting Sending Sent Failed Unsure Dropped }
    Mark { Present Late LeftEarly Absent Excused Undetermined }
    CorrectionSource { Correction RollCall Appeal LateData }
    CheckInKind { Qr Card Pin }
    AppealState { Open Accepted Rejected Withdrawn }
    PendingCounts { Undetermined Present Nothing }
    RosterFormat { Csv Oneroster }
    SessionFormat { Csv Icalendar }
    SessionState { Planned Open Closing Finalised Cancelled }
    SessionSource { Manual Csv Oneroster Icalendar Pattern }
    WebhookEvent {
        SightingRecorded ReviewRecorded DeviceStatusChanged DeviceConnectionChanged ClassSessionFinalised
        MarkFinalised MarkChanged
    }
    DeliveryState { Pending Delivered Failed Obsolete }
}

/// On the wire, a device that says nothing of its clock leaves the trust unspecified.
impl From<ClockTrust> for v1::capture_clock::Trust {
    fn from(trust: ClockTrust) -> Self {
        match trust {
            ClockTrust::Unknown => Self::Unspecified,
            ClockTrust::Synchronised => Self::Synchronised,
            ClockTrust::Corrected => Self::Corrected,
            ClockTrust::Unsynchronised => Self::Unsynchronised,
        }
    }
}

impl From<v1::capture_clock::Trust> for ClockTrust {
    fn from(wire: v1::capture_clock::Trust) -> Self {
        match wire {
            v1::capture_clock::Trust::Unspecified => Self::Unknown,
            v1::capture_clock::Trust::Synchronised => Self::Synchronised,
            v1::capture_clock::Trust::Corrected => Self::Corrected,
            v1::capture_clock::Trust::Unsynchronised => Self::Unsynchronised,
        }
    }
}

macro_rules! quality_on_the_wire {
    ($($component:ident)*; $($later:ident)*) => {
        impl From<Quality> for v1::FaceQuality {
            fn from(Quality { $($component,)* $($later,)* }: Quality) -> Self {
                Self { $($component: $component.into(),)* $($later: Some($later.into()),)* }
            }
        }

        /// Every message calls it `quality`.
        impl TryFrom<v1::FaceQuality> for Quality {
            type Error = ProtocolError;

            fn try_from(
                v1::FaceQuality { $($component,)* $($later,)* }: v1::FaceQuality,
            ) -> Result<Self, ProtocolError> {
                Ok(Self {
                    $($component: component(concat!("quality.", stringify!($component)), $component)?,)*
                    // Not known to whoever does not say it.
                    $($later: component(
                        concat!("quality.", stringify!($later)),
                        $later.unwrap_or(Quality::BEST.into()),
                    )?,)*
                })
            }
        }
    };
}

quality_on_the_wire! {
    unified_score
    inter_eye_distance
    head_size
    sharpness
    under_exposure_prevention
    over_exposure_prevention
    head_pose_yaw
    head_pose_pitch
    head_pose_roll;
    landmark_confidence
}

fn component(field: &'static str, value: u32) -> Result<u8, ProtocolError> {
    match u8::try_from(value) {
        Ok(value) if value <= Quality::BEST => Ok(value),
        _ => Err(ProtocolError::invalid(field, format_args!("{value} is not 0 to {}", Quality::BEST))),
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use super::*;

    /// More values than any enum of the protocol has.
    const NUMBERS: i32 = 100;

    /// Each value is one of the wire's, of the same name, and each of the wire's but "unspecified" is a value.
    fn meets_the_wire<T>(all: &[T], text: fn(T) -> &'static str, wire_name: fn(T::Wire) -> &'static str)
    where
        T: WireEnum + PartialEq + Debug,
    {
        for &value in all {
            assert_eq!(enum_from_wire::<T>("field", enum_to_wire(value)), Ok(value));
            let (name, text) = (wire_name(value.into()), text(value).to_uppercase());
            assert!(name.ends_with(&format!("_{text}")), "{name} for {text}");
        }
        let known = (0..NUMBERS).filter(|number| T::Wire::try_from(*number).is_ok());
        let values = known.filter(|number| enum_from_wire::<T>("field", *number).is_ok());
        assert_eq!(values.collect::<Vec<_>>(), (1..=i32::try_from(all.len()).unwrap()).collect::<Vec<_>>());
        let missing = enum_from_wire::<T>("field", 0);
        assert_eq!(missing, Err(ProtocolError::Missing { field: "field" }));
        let unknown = enum_from_wire::<T>("field", NUMBERS).unwrap_err();
        assert_eq!(unknown.to_string(), "field: 100 is no known value");
    }

    #[test]
    fn every_vocabulary_is_an_enum_of_the_wire() {
        meets_the_wire(Decision::ALL, Decision::as_str, |wire| wire.as_str_name());
        meets_the_wire(MatchKind::ALL, MatchKind::as_str, |wire| wire.as_str_name());
        meets_the_wire(EnrollmentGate::ALL, EnrollmentGate::as_str, |wire| wire.as_str_name());
        meets_the_wire(Verdict::ALL, Verdict::as_str, |wire| wire.as_str_name());
        meets_the_wire(Role::ALL, Role::as_str, |wire| wire.as_str_name());
        meets_the_wire(DeviceKind::ALL, DeviceKind::as_str, |wire| wire.as_str_name());
        meets_the_wire(DeviceStatus::ALL, DeviceStatus::as_str, |wire| wire.as_str_name());
    }

    #[test]
    fn a_clock_that_nothing_is_said_of_is_unspecified() {
        for &trust in ClockTrust::ALL {
            let wire = v1::capture_clock::Trust::from(trust);
            assert_eq!(ClockTrust::from(wire), trust);
            assert_eq!(wire == v1::capture_clock::Trust::Unspecified, trust == ClockTrust::Unknown);
        }
        let known = (0..NUMBERS).filter(|number| v1::capture_clock::Trust::try_from(*number).is_ok());
        assert_eq!(known.count(), ClockTrust::ALL.len());
    }

    #[test]
    fn components_of_quality_are_percentages() {
        let quality = Quality { head_pose_yaw: 7, ..Quality::uniform(Quality::BEST) };
        let wire = v1::FaceQuality::from(quality);
        assert_eq!((wire.head_pose_yaw, wire.head_pose_roll), (7, 100));
        assert_eq!(Quality::try_from(wire), Ok(quality));
        let older = v1::FaceQuality { landmark_confidence: None, ..wire };
        assert_eq!(Quality::try_from(older), Ok(quality));
        for wrong in [101, 256 + 7, u32::MAX] {
            let problem = Quality::try_from(v1::FaceQuality { sharpness: wrong, ..wire }).unwrap_err();
            assert_eq!(problem.to_string(), format!("quality.sharpness: {wrong} is not 0 to 100"));
        }
    }
}
