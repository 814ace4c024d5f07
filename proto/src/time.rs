use cavs_types::ProtocolError;
use jiff::Timestamp;

/// A wire timestamp from a point in time.
#[must_use]
pub fn to_timestamp(time: Timestamp) -> prost_types::Timestamp {
    // jiff counts nanoseconds towards the epoch before 1970, protobuf always forwards.
    let seconds = time.as_nanosecond().div_euclid(1_000_000_000);
    let nanos = time.as_nanosecond().rem_euclid(1_000_000_000);
    prost_types::Timestamp {
        seconds: i64::try_from(seconds).unwrap_or_default(),
        nanos: i32::try_from(nanos).unwrap_or_default(),
    }
}

/// A point in time from a wire timestamp.
///
/// # Errors
/// `Missing` where there is none, `Invalid` where it is outside of what a calendar holds.
pub fn from_timestamp(
    field: &'static str,
    timestamp: Option<&prost_types::Timestamp>,
) -> Result<Timestamp, ProtocolError> {
    let timestamp = timestamp.ok_or(ProtocolError::Missing { field })?;
    if !(0..1_000_000_000).contains(&timestamp.nanos) {
        return Err(ProtocolError::invalid(field, "nanos must be 0 to 999,999,999"));
    }
    Timestamp::new(timestamp.seconds, timestamp.nanos)
        .map_err(|_| ProtocolError::invalid(field, "outside of the years -9999 to 9999"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_timestamp_round_trips_or_is_refused(seconds: i64, nanos: i32) {
            let wire = prost_types::Timestamp { seconds, nanos };
            if let Ok(time) = from_timestamp("t", Some(&wire)) {
                prop_assert_eq!(to_timestamp(time), wire);
            }
        }

        #[test]
        fn any_time_round_trips(nanos in -10_000_000_000_000_000_000i128..10_000_000_000_000_000_000) {
            let time = Timestamp::from_nanosecond(nanos).unwrap();
            prop_assert_eq!(from_timestamp("t", Some(&to_timestamp(time))).unwrap(), time);
        }
    }
}
