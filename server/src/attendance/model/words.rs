use std::collections::BTreeMap;

use cavs_attendance::{LeavingProof, OpenReason, Rule};
use cavs_types::DeviceId;
use jiff::{Timestamp, tz::TimeZone};

/// A rule in words, with times as the site's clocks show them and devices by name.
#[must_use]
pub fn in_words(rule: &Rule, devices: &BTreeMap<DeviceId, String>, zone: &TimeZone) -> String {
    let clock = |time: &Timestamp| time.to_zoned(zone.clone()).strftime("%H:%M:%S").to_string();
    let name = |device: &DeviceId| {
        devices.get(device).map_or_else(|| device.to_string(), |name| format!("{name:?}"))
    };
    match rule {
        Rule::NotBegun => "the session has not begun".to_owned(),
        Rule::Running => "the session goes on: who is not there yet may come".to_owned(),
        Rule::Seen { first, last, times } if first == last => {
            format!("seen at {} ({})", clock(first), counted(*times, "time"))
        }
        Rule::Seen { first, last, times } => {
            format!("seen from {} to {} ({})", clock(first), clock(last), counted(*times, "time"))
        }
        Rule::EnoughSightings { independent, needed } => {
            format!(
                "{} that are independent of each other; it takes {needed}",
                counted(*independent, "sighting")
            )
        }
        Rule::TooFewSightings { independent, needed } => format!(
            "only {} that could not be one mistake; it takes {needed}, so a person has to say",
            counted(*independent, "sighting")
        ),
        Rule::Confirmed { by } => match by {
            cavs_attendance::Evidence::Sighting(id) => {
                format!("a person has approved sighting {id}: one is enough")
            }
            cavs_attendance::Evidence::CheckIn(_) => "checked in: that is enough".to_owned(),
        },
        Rule::InTime => "came in time".to_owned(),
        Rule::LateBy { minutes } => format!("came {} after the start", counted(*minutes, "minute")),
        Rule::ArrivalNotSeen => {
            "was seen to leave, not to come: nobody knows whether they were late".to_owned()
        }
        Rule::TooLate { minutes, limit } => format!(
            "came {} after the start; from {} on, coming does not count",
            counted(*minutes, "minute"),
            counted(*limit, "minute")
        ),
        Rule::TooShort { minutes, needed } => {
            format!("was there for {}; it takes {needed}", counted(*minutes, "minute"))
        }
        Rule::LeftBeforeStart { at } => {
            format!("left at {}, before the session began, and was not seen to come back", clock(at))
        }
        Rule::LeftEarly { at, minutes, proof } => {
            let proof = match proof {
                LeavingProof::Exit => "seen at the exit",
                LeavingProof::NotSeenAgain => {
                    "the devices inside watched to the end and did not see them again"
                }
            };
            format!("left at {}, {} before the end: {proof}", clock(at), counted(*minutes, "minute"))
        }
        Rule::LeavingNotProven { at } => {
            format!("last seen at {}, but nothing proves that they left", clock(at))
        }
        Rule::NotSeen => "not seen in the session".to_owned(),
        Rule::OpenSighting { sighting, why } => match why {
            OpenReason::Pending => format!("sighting {sighting} may be them, and waits for a reviewer"),
            OpenReason::BelowPolicy => {
                format!("sighting {sighting} is accepted as them, but less similar than the policy wants")
            }
            OpenReason::TimeNotTrusted => {
                format!("sighting {sighting} shows them, but the device's clock was not right")
            }
            OpenReason::EnteredBefore => format!(
                "sighting {sighting} shows that they came in earlier: they may have stayed, and no device looks inside"
            ),
        },
        Rule::DeviceBehind { device, delivered_until: Some(until) } => {
            format!("device {} has delivered what it saw up to {} only", name(device), clock(until))
        }
        Rule::DeviceBehind { device, delivered_until: None } => {
            format!("device {} has not said yet that it delivered what it saw", name(device))
        }
        Rule::NotWatched { device, seconds, why } => {
            let time = if *seconds < 120 {
                counted(u32::try_from(*seconds).unwrap_or(u32::MAX), "second")
            } else {
                counted(u32::try_from(seconds / 60).unwrap_or(u32::MAX), "minute")
            };
            let why = why
                .as_ref()
                .map_or_else(|| "nothing is known of that time".to_owned(), |why| why.replace('_', " "));
            format!("device {} did not watch for {time}: {why}", name(device))
        }
        Rule::NoDevices => "no device looks at who comes to or is in the session's rooms".to_owned(),
        Rule::AbsenceProven => {
            "every device of the session's rooms has watched it and delivered what it saw".to_owned()
        }
        Rule::Excused { .. } => "excused for all of the session".to_owned(),
        Rule::LatenessExcused { .. } => "excused for the time before".to_owned(),
        Rule::LeavingExcused { .. } => "excused for the time after".to_owned(),
        Rule::Corrected { mark, .. } => format!("a person has said: {}", mark.as_str().replace('_', " ")),
    }
}

/// A number with its noun.
fn counted(number: u32, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_told_by_the_sites_clocks() {
        let device = DeviceId::generate();
        let devices = [(device, "door".to_owned())].into();
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let said = |rule| in_words(&rule, &devices, &zone);
        let at: Timestamp = "2026-07-01T08:10:00Z".parse().unwrap();
        assert_eq!(said(Rule::LateBy { minutes: 1 }), "came 1 minute after the start");
        assert_eq!(
            said(Rule::LeftEarly { at, minutes: 20, proof: LeavingProof::Exit }),
            "left at 10:10:00, 20 minutes before the end: seen at the exit"
        );
        assert_eq!(
            said(Rule::NotWatched { device, seconds: 600, why: Some("camera_frozen".to_owned()) }),
            "device \"door\" did not watch for 10 minutes: camera frozen"
        );
        assert_eq!(
            said(Rule::DeviceBehind { device, delivered_until: Some(at) }),
            "device \"door\" has delivered what it saw up to 10:10:00 only"
        );
    }
}
