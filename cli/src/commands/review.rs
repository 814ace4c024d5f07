//! `cavs review`

use std::path::PathBuf;

use cavs_proto::{
    enum_to_wire, to_timestamp,
    v1::{self, answer_audit_request::Answer},
};
use cavs_types::{PredictionReason, QueueOrder, SightingId, Verdict};
use clap::builder::PossibleValue;
use jiff::tz::TimeZone;

use super::sightings::range;
use crate::{
    args::words,
    client::Api,
    completion,
    config::Config,
    error::CliError,
    files::write_new_private,
    list::{List, ListWriter, Total},
    lookup,
    paging::{self, Extent, Page, PageQuery},
    printer::Printer,
    review_screen::{self, ImageProtocol},
    timespec::TimeSpec,
    view::{
        AuditAnswered, AuditView, BulkReviewView, ClaimsView, ReviewItemView, ReviewQueue, SightingList,
        SightingView,
    },
};

/// `cavs review`, which fills the terminal where it is not told what to do.
#[derive(Debug, clap::Args)]
#[command(after_help = ABOUT_REVIEW)]
pub struct ReviewArgs {
    #[command(subcommand)]
    command: Option<ReviewCommand>,
    #[command(flatten)]
    queue: Queue,
    /// How pictures are drawn
    #[arg(long, value_enum, default_value_t, value_name = "PROTOCOL")]
    image_protocol: ImageProtocol,
}

const ABOUT_REVIEW: &str = "Without a command, the review fills the terminal: the face beside the portraits of whom it \
may be, and one key a verdict (? lists them). Its options choose what is reviewed, as those of `cavs review list` do.";

/// What `cavs review` does.
#[derive(Debug, clap::Subcommand)]
pub enum ReviewCommand {
    /// List what waits for a person, oldest first
    #[command(visible_alias = "ls", after_help = ABOUT_REASONS)]
    List(ListArgs),
    /// Show a sighting and whom it may be
    Show(ShowArgs),
    /// Say that it is the predicted student, or the one given with --student
    Approve(VerdictArgs),
    /// Say that it is not the predicted student
    Reject(VerdictArgs),
    /// Leave it for somebody else to look at
    Flag(VerdictArgs),
    /// Claim the first of what waits: nobody else decides it for a while
    Claim(ClaimArgs),
    /// End your claims
    Release(ReleaseArgs),
    /// Give sightings that wait to a reviewer, until they are decided
    Assign(AssignArgs),
    /// Say who somebody is whom the machine was sure of, without being told: accuracy is measured by that
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Faces that were taken for nobody and are like somebody who was enrolled since
    #[command(subcommand)]
    Late(super::late::LateCommand),
    /// List your own latest verdicts that are in force, newest first, at most 20
    Mine,
    /// Take back the verdict in force, so that the one before it counts again
    Undo(UndoArgs),
    /// Give one verdict on all that filters choose of what waits, oldest first
    #[command(
        after_help = "Look first at what it would be, with --dry-run, or with `cavs review list` and the same \
filters. Each sighting is reviewed by itself: what somebody else has reviewed meanwhile, and what the machine had nobody \
for to approve, what others have claimed and what you have flagged yourself, is passed over."
    )]
    Bulk(BulkArgs),
}

const ABOUT_REASONS: &str = "Reasons are LOW_SIMILARITY, NARROW_MARGIN, CONFUSABLE_PAIR, FACE_NOT_UPRIGHT, LOW_LIVENESS, \
LOW_QUALITY, TIME_IMPLAUSIBLE and DEVICE_IN_MAINTENANCE.";

/// Options of `cavs review list`.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    #[command(flatten)]
    queue: Queue,
    #[command(flatten)]
    extent: Extent,
}

/// The queue, or a part of it.
#[derive(Debug, Default, PartialEq, clap::Args)]
pub struct Queue {
    #[command(flatten)]
    filter: Filter,
    /// The least certain first, by the similarity of the best candidate
    #[arg(long)]
    least_certain: bool,
    /// One of each visit: of what a device saw of one predicted student with no gap over five minutes
    #[arg(long)]
    by_visit: bool,
}

/// Options of `cavs review claim`.
#[derive(Debug, clap::Args)]
pub struct ClaimArgs {
    #[command(flatten)]
    queue: Queue,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100))]
    limit: u32,
    /// For so many minutes, up to 480
    #[arg(long, value_name = "MINUTES", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=480))]
    minutes: u32,
}

/// Options of `cavs review release`.
#[derive(Debug, clap::Args)]
pub struct ReleaseArgs {
    /// Ids of sightings; all that you have claimed where none is given
    #[arg(value_name = "SIGHTING")]
    ids: Vec<SightingId>,
}

/// Options of `cavs review assign`.
#[derive(Debug, clap::Args)]
pub struct AssignArgs {
    /// Ids of sightings
    #[arg(value_name = "SIGHTING", required = true)]
    ids: Vec<SightingId>,
    /// User name of a reviewer of the site
    #[arg(long, value_name = "USER")]
    to: Option<String>,
    /// Give them to nobody in particular, which ends claims, too
    #[arg(long, required_unless_present = "to", conflicts_with = "to")]
    nobody: bool,
}

/// What of the queue is wanted.
#[derive(Debug, Default, PartialEq, clap::Args)]
pub struct Filter {
    /// Only this room
    #[arg(long)]
    classroom: Option<String>,
    /// Only this device
    #[arg(long, value_name = "NAME|ID", add = completion::devices())]
    device: Option<String>,
    /// Only where this student is the best candidate
    #[arg(long, value_name = "NUMBER|ID", add = completion::students())]
    student: Option<String>,
    /// Only where the best candidate is of this section
    #[arg(long)]
    section: Option<String>,
    /// Only what is pending for this reason
    #[arg(long, value_parser = words(PredictionReason::ALL, reason))]
    reason: Option<PredictionReason>,
    /// Only where the best candidate is at least so similar
    #[arg(long, value_name = "SIMILARITY")]
    least_similarity: Option<f32>,
    /// Only where the best candidate is less similar
    #[arg(long, value_name = "SIMILARITY")]
    similarity_below: Option<f32>,
    /// Only from this time or day on
    #[arg(long, value_name = "TIME", value_parser = TimeSpec::parse)]
    from: Option<TimeSpec>,
    /// Only before this time, or up to the end of this day
    #[arg(long, value_name = "TIME", value_parser = TimeSpec::parse)]
    until: Option<TimeSpec>,
    /// Only what somebody has flagged
    #[arg(long, conflicts_with = "not_flagged")]
    flagged: bool,
    /// Only what nobody has looked at
    #[arg(long)]
    not_flagged: bool,
    /// Only what this person has claimed, or was given
    #[arg(long, value_name = "USER")]
    claimed_by: Option<String>,
    /// Only what nobody has claimed
    #[arg(long, conflicts_with = "claimed_by")]
    unclaimed: bool,
}

/// Options of `cavs review bulk`.
#[derive(Debug, clap::Args)]
pub struct BulkArgs {
    /// The verdict
    #[arg(value_parser = words(Verdict::ALL, verdict))]
    verdict: Verdict,
    #[command(flatten)]
    filter: Filter,
    /// What the next reader should know
    #[arg(long, default_value = "", value_name = "TEXT")]
    notes: String,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Review nothing; say how many it would be
    #[arg(long)]
    dry_run: bool,
    /// Says that it is meant
    #[arg(long)]
    yes: bool,
}

fn reason(reason: PredictionReason) -> PossibleValue {
    PossibleValue::new(reason.as_str()).hide(true)
}

fn verdict(verdict: Verdict) -> PossibleValue {
    PossibleValue::new(verdict.as_str()).help(match verdict {
        Verdict::Approved => "It is the predicted student",
        Verdict::Rejected => "It is not the predicted student",
        Verdict::Flagged => "Somebody else should look",
    })
}

/// Options of `cavs review show`.
#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    /// Id of the sighting
    id: SightingId,
    /// Write the picture of the face (JPEG) into a new file
    #[arg(long, value_name = "FILE")]
    evidence_out: Option<PathBuf>,
}

/// What `cavs review audit` does.
#[derive(Debug, clap::Subcommand)]
pub enum AuditCommand {
    /// Show one that waits, and whom it may be
    Next {
        /// Write the picture of the face (JPEG) into a new file
        #[arg(long, value_name = "FILE")]
        evidence_out: PathBuf,
    },
    /// Say who it is
    #[command(group = clap::ArgGroup::new("who").required(true))]
    Answer {
        /// Id of the sighting
        id: SightingId,
        /// One of those whom it may be
        #[arg(long, value_name = "NUMBER|ID", group = "who")]
        student: Option<String>,
        /// It is somebody else
        #[arg(long, group = "who")]
        none_of_them: bool,
        /// Nobody could tell by this picture
        #[arg(long, group = "who")]
        cannot_tell: bool,
    },
}

/// Options of a verdict.
#[derive(Debug, clap::Args)]
pub struct VerdictArgs {
    /// Id of the sighting
    id: SightingId,
    /// What the next reader should know
    #[arg(long, default_value = "", value_name = "TEXT")]
    notes: String,
    /// Who it really was
    #[arg(long, value_name = "NUMBER|ID", add = completion::students())]
    student: Option<String>,
    /// Replace an earlier approval or rejection
    #[arg(long)]
    replace: bool,
    /// On the other sightings of the visit, too, as `list --by-visit` counts them
    #[arg(long)]
    visit: bool,
}

/// Options of `cavs review undo`.
#[derive(Debug, clap::Args)]
pub struct UndoArgs {
    /// Id of the sighting
    #[arg(required_unless_present = "last")]
    id: Option<SightingId>,
    /// Take back your own latest verdict that is in force, with those that were given together with it
    #[arg(long, conflicts_with = "id")]
    last: bool,
    /// And those that were given together with it: on a visit, or in bulk
    #[arg(long)]
    together: bool,
    /// What the next reader should know
    #[arg(long, default_value = "", value_name = "TEXT")]
    notes: String,
}

pub(crate) async fn run(args: ReviewArgs, config: &Config, printer: &Printer) -> Result<(), CliError> {
    let ReviewArgs { command, queue, image_protocol } = args;
    let Some(command) = command else {
        review_screen::check()?;
        let api = Api::connect(config).await?;
        let (order, by_visit) = (enum_to_wire(queue.order()), queue.by_visit);
        let (filter, queue_filter) = queue.filter.into_wire(&api).await?;
        let (filter, queue_filter) = (Some(filter), Some(queue_filter));
        let queue = v1::ClaimPendingRequest {
            filter,
            queue_filter,
            order,
            by_visit,
            ..v1::ClaimPendingRequest::default()
        };
        return review_screen::review(api, queue, image_protocol, printer).await;
    };
    // The parser's own check would count options of all commands.
    if queue != Queue::default() || image_protocol != ImageProtocol::default() {
        let message = "options of the full-screen review stand before a command: put them behind it";
        return Err(CliError::usage(message));
    }
    let api = Api::connect(config).await?;
    match command {
        ReviewCommand::List(args) => list(args, &api, printer).await,
        ReviewCommand::Show(args) => show(args, &api, printer).await,
        ReviewCommand::Approve(args) => review(Verdict::Approved, args, &api, printer).await,
        ReviewCommand::Reject(args) => review(Verdict::Rejected, args, &api, printer).await,
        ReviewCommand::Flag(args) => review(Verdict::Flagged, args, &api, printer).await,
        ReviewCommand::Claim(args) => claim(args, &api, printer).await,
        ReviewCommand::Release(args) => release(args, &api, printer).await,
        ReviewCommand::Assign(args) => assign(args, &api, printer).await,
        ReviewCommand::Audit(command) => audit(command, &api, printer).await,
        ReviewCommand::Late(command) => super::late::run(&api, command, printer).await,
        ReviewCommand::Mine => mine(&api, printer).await,
        ReviewCommand::Undo(args) => undo(args, &api, printer).await,
        ReviewCommand::Bulk(args) => bulk(args, &api, printer).await,
    }
}

async fn list(args: ListArgs, api: &Api, printer: &Printer) -> Result<(), CliError> {
    let (order, by_visit) = (args.queue.order(), args.queue.by_visit);
    let (filter, queue_filter) = args.queue.filter.into_wire(api).await?;
    paging::list::<ReviewQueue, _>(args.extent, printer, async |query| {
        let PageQuery { size: page_size, token: page_token, with_total: with_total_size } = query;
        let request = v1::ListPendingRequest {
            page_size,
            page_token,
            filter: Some(filter.clone()),
            with_total_size,
            queue_filter: Some(queue_filter.clone()),
            order: enum_to_wire(order),
            by_visit,
        };
        let page = api.call(api.reviews().list_pending(request)).await?;
        Ok(Page {
            items: page.sightings,
            next: page.next_page_token,
            total: page.total_size,
            total_exact: page.total_size_exact,
        })
    })
    .await
}

impl Queue {
    const fn order(&self) -> QueueOrder {
        if self.least_certain { QueueOrder::LeastCertainFirst } else { QueueOrder::OldestFirst }
    }
}

async fn claim(args: ClaimArgs, api: &Api, printer: &Printer) -> Result<(), CliError> {
    let ClaimArgs { queue, limit, minutes } = args;
    let (order, by_visit) = (enum_to_wire(queue.order()), queue.by_visit);
    let (filter, queue_filter) = queue.filter.into_wire(api).await?;
    let request = v1::ClaimPendingRequest {
        filter: Some(filter),
        queue_filter: Some(queue_filter),
        order,
        by_visit,
        limit,
        lease_seconds: minutes * 60,
    };
    print_all::<ReviewQueue>(api.call(api.reviews().claim_pending(request)).await?.sightings, printer)
}

async fn release(args: ReleaseArgs, api: &Api, printer: &Printer) -> Result<(), CliError> {
    let request = v1::ReleaseClaimsRequest { sighting_ids: texts(&args.ids) };
    let released = api.call(api.reviews().release_claims(request)).await?.released;
    printer.report(&ClaimsView::Released { released })
}

async fn assign(args: AssignArgs, api: &Api, printer: &Printer) -> Result<(), CliError> {
    let reviewer = args.to.unwrap_or_default();
    let request = v1::AssignPendingRequest { sighting_ids: texts(&args.ids), reviewer: reviewer.clone() };
    let assigned = api.call(api.reviews().assign_pending(request)).await?.assigned;
    printer.report(&ClaimsView::Assigned { assigned, reviewer })
}

async fn audit(command: AuditCommand, api: &Api, printer: &Printer) -> Result<(), CliError> {
    match command {
        AuditCommand::Next { evidence_out } => {
            let request = v1::GetNextAuditRequest {};
            let Some(audit) = api.call(api.reviews().get_next_audit(request)).await?.audit else {
                let message = "no audit waits".to_owned();
                return Err(CliError::NotFound { reason: "NO_AUDIT", message });
            };
            write_new_private(&evidence_out, &audit.evidence)?;
            printer.report(&AuditView::new(audit, &evidence_out))
        }
        AuditCommand::Answer { id, student, none_of_them, cannot_tell: _ } => {
            let answer = match student {
                Some(student) => Answer::StudentId(lookup::student_id(api, Some(&student)).await?),
                None if none_of_them => Answer::NoneOfThem(true),
                None => Answer::CannotTell(true),
            };
            let request = v1::AnswerAuditRequest { sighting_id: id.to_string(), answer: Some(answer) };
            api.call(api.reviews().answer_audit(request)).await?;
            printer.report(&AuditAnswered { sighting_id: id.to_string() })
        }
    }
}

fn texts(ids: &[SightingId]) -> Vec<String> {
    ids.iter().map(ToString::to_string).collect()
}

async fn bulk(args: BulkArgs, api: &Api, printer: &Printer) -> Result<(), CliError> {
    let BulkArgs { verdict, filter, notes, limit, dry_run, yes } = args;
    let (filter, queue_filter) = filter.into_wire(api).await?;
    let request = |dry_run| v1::ReviewPendingRequest {
        filter: Some(filter.clone()),
        queue_filter: Some(queue_filter.clone()),
        verdict: enum_to_wire(verdict),
        notes: notes.clone(),
        limit,
        dry_run,
    };
    let would = api.call(api.reviews().review_pending(request(true))).await?;
    if dry_run || would.chosen == 0 {
        return printer.report(&BulkReviewView::new(would, verdict, true));
    }
    if !yes {
        let question = format!("Have {} sightings {verdict}?", would.chosen);
        printer.agree(&question, "each is taken back by itself")?;
    }
    let done = api.call(api.reviews().review_pending(request(false))).await?;
    printer.report(&BulkReviewView::new(done, verdict, false))
}

impl Filter {
    /// As the wire has it.
    async fn into_wire(self, api: &Api) -> Result<(v1::SightingFilter, v1::QueueFilter), CliError> {
        let (from, until) = range(self.from, self.until, &TimeZone::system())?;
        let filter = v1::SightingFilter {
            device_id: lookup::device_id(api, self.device.as_deref()).await?,
            classroom: self.classroom.unwrap_or_default(),
            start_time: from.map(to_timestamp),
            end_time: until.map(to_timestamp),
            ..v1::SightingFilter::default()
        };
        let queue_filter = v1::QueueFilter {
            reason: self.reason.map(|reason| reason.to_string()).unwrap_or_default(),
            least_similarity: self.least_similarity,
            similarity_below: self.similarity_below,
            section: self.section.unwrap_or_default(),
            predicted_student_id: lookup::student_id(api, self.student.as_deref()).await?,
            flagged: (self.flagged || self.not_flagged).then_some(self.flagged),
            claimed_by: self.claimed_by.unwrap_or_default(),
            unclaimed: self.unclaimed,
        };
        Ok((filter, queue_filter))
    }
}

async fn show(args: ShowArgs, api: &Api, printer: &Printer) -> Result<(), CliError> {
    let request = v1::GetReviewItemRequest { sighting_id: args.id.to_string() };
    let item = api.call(api.reviews().get_review_item(request)).await?;
    let sighting = item.sighting.ok_or_else(|| CliError::protocol("the server's answer has no sighting"))?;
    if let Some(path) = &args.evidence_out {
        if item.evidence.is_empty() {
            let message = format!("sighting {}: no picture of the face was kept", args.id);
            return Err(CliError::NotFound { reason: "NO_EVIDENCE", message });
        }
        write_new_private(path, &item.evidence)?;
    }
    printer.report(&ReviewItemView {
        sighting: sighting.into(),
        evidence_bytes: item.evidence.len(),
        evidence_file: args.evidence_out.map(|path| path.display().to_string()),
    })
}

async fn review(verdict: Verdict, args: VerdictArgs, api: &Api, printer: &Printer) -> Result<(), CliError> {
    let request = v1::ReviewSightingRequest {
        sighting_id: args.id.to_string(),
        verdict: enum_to_wire(verdict),
        notes: args.notes,
        corrected_student_id: lookup::student_id(api, args.student.as_deref()).await?,
        replace: args.replace,
        whole_visit: args.visit,
    };
    let done = api.call(api.reviews().review_sighting(request)).await?;
    report(done.sighting, done.also_reviewed, "reviewed", printer)
}

async fn undo(args: UndoArgs, api: &Api, printer: &Printer) -> Result<(), CliError> {
    let sighting_id = match args.id {
        Some(id) => id.to_string(),
        None => match own_reviews(api).await?.into_iter().next() {
            Some(latest) => latest.id,
            None => {
                let message = "no verdict of yours is in force".to_owned();
                return Err(CliError::NotFound { reason: "NO_REVIEW", message });
            }
        },
    };
    let given_together = args.together || args.last;
    let request = v1::WithdrawReviewRequest { sighting_id, notes: args.notes, given_together, own: false };
    let done = api.call(api.reviews().withdraw_review(request)).await?;
    report(done.sighting, done.also_withdrawn, "taken back", printer)
}

/// One sighting, and of how many others the same was said.
fn report(
    sighting: Option<v1::Sighting>,
    others: u32,
    what: &str,
    printer: &Printer,
) -> Result<(), CliError> {
    let sighting = sighting.ok_or_else(|| CliError::protocol("the server's answer has no sighting"))?;
    printer.report(&SightingView::from(sighting))?;
    if others > 0 {
        printer.note(&format!("{others} other sightings were {what} with it"));
    }
    Ok(())
}

async fn own_reviews(api: &Api) -> Result<Vec<v1::Sighting>, CliError> {
    let request = v1::ListOwnReviewsRequest {};
    Ok(api.call(api.reviews().list_own_reviews(request)).await?.sightings)
}

/// All that there is of a list.
fn print_all<L: List<Entry = SightingView>>(
    sightings: Vec<v1::Sighting>,
    printer: &Printer,
) -> Result<(), CliError> {
    let mut writer = ListWriter::<L>::new(printer);
    let sightings: Vec<SightingView> = sightings.into_iter().map(Into::into).collect();
    let total = Total { entries: sightings.len() as u64, exact: true };
    if writer.page(&sightings)? { writer.end(total) } else { Ok(()) }
}

async fn mine(api: &Api, printer: &Printer) -> Result<(), CliError> {
    print_all::<SightingList>(own_reviews(api).await?, printer)
}
