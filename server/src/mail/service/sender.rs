//! Notes who is to be written to, and sends what is due. Every server that can send does it; the database gives each mail
//! to one of them.

use std::time::Duration;

use cavs_types::SiteId;
use jiff::{Timestamp, ToSpan};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{SmtpTransport, smtp::Posted};
use crate::{
    attendance::{AttendanceStore, ReportDays, WarningFilter},
    db::{Database, DatabaseError},
    mail::{
        MailStore,
        model::{Claimed, NewMail, WarningContact, next_attempt},
    },
};

/// How often is looked for mails that are due.
const TURN: Duration = Duration::from_secs(5);
/// How often is looked for marks that have become final.
const NOTE_TURN: Duration = Duration::from_secs(30);
/// Mails that are sent one after another before it is looked again.
const ROUND: i64 = 20;
/// How long after a term's end its marks still lead to mails, in days.
const AFTER_TERM: i64 = 30;
/// Most people of a term that are written to at one time.
const MOST: i64 = 5000;

/// Sends mails.
#[derive(Clone)]
pub struct MailSender {
    store: MailStore,
    marks: AttendanceStore,
    transport: SmtpTransport,
}

impl MailSender {
    /// Over these connections to the database.
    #[must_use]
    pub fn new(db: &Database, marks: &AttendanceStore, transport: SmtpTransport) -> Self {
        Self { store: MailStore::new(db), marks: marks.clone(), transport }
    }

    /// Sends until `shutdown`; a mail that is being sent then is sent to its end.
    pub async fn run(&self, shutdown: CancellationToken) {
        let mut next_note = tokio::time::Instant::now();
        while !shutdown.is_cancelled() {
            if tokio::time::Instant::now() >= next_note {
                next_note = tokio::time::Instant::now() + NOTE_TURN;
                if let Err(cause) = self.note(Timestamp::now()).await {
                    warn!(%cause, "nobody is written to of seldom attendance until the database is back");
                }
            }
            if let Err(cause) = self.send_due(&shutdown).await {
                warn!(%cause, "mails are not sent until the database is back");
            }
            shutdown.run_until_cancelled(tokio::time::sleep(TURN)).await;
        }
    }

    /// Notes mails of what has become final.
    pub(crate) async fn note(&self, now: Timestamp) -> Result<(), DatabaseError> {
        for site in self.store.sites_with_news().await? {
            self.note_site(site, now).await?;
        }
        Ok(())
    }

    async fn note_site(&self, site: SiteId, now: Timestamp) -> Result<(), DatabaseError> {
        // What becomes final from here on is news of the next time.
        let until = self.store.begin_noting().await?;
        let head = self.marks.report_head(site).await?;
        let policy = self.store.policy(site).await?.policy;
        let today = now.to_zoned(head.zone.clone()).date();
        for (term, days) in self.store.terms(site, today, today.saturating_sub(AFTER_TERM.days())).await? {
            let filter = WarningFilter { below: policy.below, group: None, section: None, final_only: true };
            let days = ReportDays { days, term: String::new() };
            let rows = self.marks.warnings(site, &filter, days.moments(&head.zone), MOST).await?;
            let rows: Vec<_> =
                rows.into_iter().filter(|row| row.tally.counted() >= policy.least_sessions).collect();
            let ids: Vec<_> = rows.iter().map(|row| row.student.id).collect();
            let emails = if policy.to_students { self.store.emails(site, &ids).await? } else { Vec::new() };
            let mut mails = Vec::new();
            for row in &rows {
                let new = |recipient: &str, is_to_student| NewMail {
                    student: row.student.id,
                    term,
                    recipient: recipient.to_owned(),
                    is_to_student,
                    tally: row.tally,
                };
                mails.extend(
                    emails.iter().filter(|(id, _)| *id == row.student.id).map(|(_, email)| new(email, true)),
                );
                let of_section = |contact: &&WarningContact| contact.section == row.section;
                mails.extend(policy.contacts.iter().filter(of_section).map(|to| new(&to.email, false)));
            }
            let noted = self.store.note(site, policy.below, &mails).await?;
            debug!(%site, noted, "noted mails of seldom attendance");
        }
        self.store.end_noting(site, until).await
    }

    /// Sends what is due.
    pub(crate) async fn send_due(&self, shutdown: &CancellationToken) -> Result<(), DatabaseError> {
        let unsure = self.store.give_up_unsure().await?;
        if unsure > 0 {
            warn!(
                unsure,
                "nobody knows whether mails were sent when a server stopped: `cavs attendance mails list`"
            );
        }
        for _ in 0..ROUND {
            if shutdown.is_cancelled() {
                break;
            }
            let Some(claimed) = self.store.claim().await? else { break };
            self.send(claimed).await?;
        }
        Ok(())
    }

    async fn send(
        &self,
        Claimed { site, id, recipient, attempts, letter }: Claimed,
    ) -> Result<(), DatabaseError> {
        let posted = self.transport.post(id, &recipient, &letter).await;
        let next = match &posted {
            Posted::Later(_) => next_attempt(attempts, Timestamp::now()),
            Posted::Taken | Posted::Refused(_) | Posted::Unsure(_) => None,
        };
        // No address: it is a person's.
        debug!(%site, mail = %id, ?next, "sent a mail, or tried to");
        self.store.record(site, id, &posted, next).await
    }
}
