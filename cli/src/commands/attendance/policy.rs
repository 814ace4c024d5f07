use cavs_proto::{enum_to_wire, v1};
use cavs_types::PendingCounts;
use clap::builder::PossibleValue;
use prost_types::FieldMask;

use super::session_id;
use crate::{
    args::words, client::Api, completion, error::CliError, lookup, printer::Printer,
    view::AttendancePolicyView,
};

/// What `cavs attendance policy` does.
#[derive(Debug, clap::Subcommand)]
pub enum PolicyCommand {
    /// Show what is in force, and what of it is set there
    Show {
        /// Whose.
        #[command(flatten)]
        of: OfArgs,
    },
    /// Change settings; what is not said stays
    Set(Box<SetArgs>),
}

/// Whose policy: of the site where neither is said.
#[derive(Debug, clap::Args)]
pub struct OfArgs {
    /// Of a group's sessions
    #[arg(long, add = completion::groups())]
    group: Option<String>,
    /// Of one session: its id, or the name of its group
    #[arg(long, conflicts_with = "group", add = completion::groups())]
    session: Option<String>,
}

/// A limit, or `none`.
#[derive(Debug, Clone, Copy)]
struct Limit<T>(Option<T>);

impl<T: std::str::FromStr> std::str::FromStr for Limit<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self(None)),
            text => text
                .parse()
                .map(|value| Self(Some(value)))
                .map_err(|_| "expected a number, or none".to_owned()),
        }
    }
}

/// Options of `cavs attendance policy set`.
#[derive(Debug, clap::Args)]
pub struct SetArgs {
    /// Whose.
    #[command(flatten)]
    of: OfArgs,
    /// How long before the start somebody may come, in minutes
    #[arg(long, value_name = "MINUTES")]
    minutes_before: Option<u32>,
    /// How long after the end somebody may still be seen, in minutes
    #[arg(long, value_name = "MINUTES")]
    minutes_after: Option<u32>,
    /// How long after the start somebody is in time, in minutes
    #[arg(long, value_name = "MINUTES")]
    grace_minutes: Option<u32>,
    /// From how long after the start coming doesn't count any more, in minutes; none: it is late, however late
    #[arg(long, value_name = "MINUTES")]
    too_late_minutes: Option<Limit<u32>>,
    /// How long somebody must be there, in minutes
    #[arg(long, value_name = "MINUTES")]
    least_minutes: Option<u32>,
    /// How many sightings it takes that are independent of each other
    #[arg(long, value_name = "N")]
    sightings: Option<u32>,
    /// From which similarity on an accepted sighting counts; none: all do
    #[arg(long, value_name = "SIMILARITY")]
    least_similarity: Option<Limit<f32>>,
    /// What a sighting counts as that waits for a person
    #[arg(long, value_parser = words(PendingCounts::ALL, pending))]
    pending: Option<PendingCounts>,
    /// Whether leaving early is looked at
    #[arg(long, value_name = "true|false")]
    leaving: Option<bool>,
    /// How long before the end somebody may leave, in minutes
    #[arg(long, value_name = "MINUTES")]
    leave_grace_minutes: Option<u32>,
    /// What share of a session each device inside must have watched for an absence to be given, 0.5 to 1
    #[arg(long, value_name = "SHARE")]
    least_watched: Option<f32>,
    /// How many days after a session its marks are final; none: not by themselves
    #[arg(long, value_name = "DAYS")]
    finalise_after_days: Option<Limit<u32>>,
    /// Within how many days an appeal is to be decided
    #[arg(long, value_name = "DAYS")]
    appeal_days: Option<u32>,
    /// Name of a setting that is not set there any more, as grace_minutes; may be said several times
    #[arg(long, value_name = "SETTING")]
    reset: Vec<String>,
}

fn pending(counts: PendingCounts) -> PossibleValue {
    let help = match counts {
        PendingCounts::Undetermined => "Nobody is absent for whom one waits",
        PendingCounts::Present => "They are there",
        PendingCounts::Nothing => "Nothing",
    };
    PossibleValue::new(counts.as_str()).help(help)
}

pub(super) async fn run(api: &Api, command: PolicyCommand, printer: &Printer) -> Result<(), CliError> {
    let view = match command {
        PolicyCommand::Show { of } => {
            use v1::get_attendance_policy_request::Of;
            let of = match (of.group, of.session) {
                (Some(group), _) => Some(Of::GroupId(lookup::group(api, &group).await?.id)),
                (None, Some(session)) => Some(Of::SessionId(session_id(api, &session).await?)),
                (None, None) => None,
            };
            let request = v1::GetAttendancePolicyRequest { of };
            AttendancePolicyView::from(api.call(api.attendance().get_attendance_policy(request)).await?)
        }
        PolicyCommand::Set(args) => {
            let request = update(api, *args).await?;
            AttendancePolicyView::from(api.call(api.attendance().update_attendance_policy(request)).await?)
        }
    };
    printer.report(&view)
}

async fn update(api: &Api, args: SetArgs) -> Result<v1::UpdateAttendancePolicyRequest, CliError> {
    use v1::update_attendance_policy_request::Of;
    let of = match (args.of.group, args.of.session) {
        (Some(group), _) => Some(Of::GroupId(lookup::group(api, &group).await?.id)),
        (None, Some(session)) => Some(Of::SessionId(session_id(api, &session).await?)),
        (None, None) => None,
    };
    let said = [
        ("minutes_before", args.minutes_before.is_some()),
        ("minutes_after", args.minutes_after.is_some()),
        ("grace_minutes", args.grace_minutes.is_some()),
        ("too_late_minutes", args.too_late_minutes.is_some()),
        ("least_minutes", args.least_minutes.is_some()),
        ("sightings", args.sightings.is_some()),
        ("least_similarity", args.least_similarity.is_some()),
        ("pending", args.pending.is_some()),
        ("leaving", args.leaving.is_some()),
        ("leave_grace_minutes", args.leave_grace_minutes.is_some()),
        ("least_watched", args.least_watched.is_some()),
        ("finalise_after_days", args.finalise_after_days.is_some()),
        ("appeal_days", args.appeal_days.is_some()),
    ];
    let paths: Vec<String> =
        said.iter().filter(|(_, said)| *said).map(|(name, _)| (*name).to_owned()).collect();
    if paths.is_empty() && args.reset.is_empty() {
        return Err(CliError::usage("say what is to be changed, as with --grace-minutes 5; see --help"));
    }
    let policy = v1::AttendancePolicy {
        minutes_before: args.minutes_before.unwrap_or_default(),
        minutes_after: args.minutes_after.unwrap_or_default(),
        grace_minutes: args.grace_minutes.unwrap_or_default(),
        too_late_minutes: args.too_late_minutes.and_then(|limit| limit.0),
        least_minutes: args.least_minutes.unwrap_or_default(),
        sightings: args.sightings.unwrap_or_default(),
        least_similarity: args.least_similarity.and_then(|limit| limit.0),
        pending: args.pending.map(enum_to_wire).unwrap_or_default(),
        leaving: args.leaving.unwrap_or_default(),
        leave_grace_minutes: args.leave_grace_minutes.unwrap_or_default(),
        least_watched: args.least_watched.unwrap_or_default(),
        finalise_after_days: args.finalise_after_days.and_then(|limit| limit.0),
        appeal_days: args.appeal_days.unwrap_or_default(),
    };
    Ok(v1::UpdateAttendancePolicyRequest {
        of,
        policy: Some(policy),
        update_mask: Some(FieldMask { paths }),
        reset_mask: Some(FieldMask { paths: args.reset }),
        etag: String::new(),
    })
}
