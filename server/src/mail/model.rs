use cavs_reports::{Rate, Tally};
use cavs_types::{ProtocolError, SiteId, StudentId, TermId};
use jiff::{Timestamp, civil::Date};
use uuid::Uuid;

use crate::{people::StudentRef, text};

pub use cavs_types::MailState;

/// Longest address.
const LONGEST_ADDRESS: usize = 254;
/// Most contacts of a site.
const MOST_CONTACTS: usize = 1000;
/// Pauses before an attempt, in minutes: after the last one a mail has failed.
const PAUSES: [i64; 7] = [1, 5, 30, 120, 480, 1440, 1440];

/// Who is written to of the students of a section.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct WarningContact {
    /// The section's name.
    pub section: String,
    /// An address.
    pub email: String,
}

impl WarningContact {
    /// Of a section, with an address that mail can be sent to.
    ///
    /// # Errors
    /// `Invalid`, `Missing`.
    pub fn new(section: &str, email: &str) -> Result<Self, ProtocolError> {
        let section = text::required("section", text::name("section", section, 100)?)?;
        let email = email.trim();
        if email.len() > LONGEST_ADDRESS || email.parse::<lettre::Address>().is_err() {
            let shown: String = email.chars().take(64).collect();
            return Err(ProtocolError::invalid("email", format_args!("{shown:?} is no address")));
        }
        Ok(Self { section, email: email.to_owned() })
    }
}

/// What a site's policy is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewWarningPolicy {
    /// Whether mails are sent.
    pub is_enabled: bool,
    /// Below which share.
    pub below: Rate,
    /// Of fewer sessions that count nothing is said.
    pub least_sessions: u32,
    /// Whether the students themselves are written to.
    pub to_students: bool,
    /// Each once.
    pub contacts: Vec<WarningContact>,
}

impl NewWarningPolicy {
    /// # Errors
    /// `Invalid`: what is out of bounds, or sends nothing to anybody.
    pub fn checked(mut self) -> Result<Self, ProtocolError> {
        if !(1..=1000).contains(&self.least_sessions) {
            return Err(ProtocolError::invalid("least_sessions", "must be from 1 to 1000"));
        }
        if self.below.permille() == 0 {
            return Err(ProtocolError::invalid("below_permille", "must be from 1 to 1000"));
        }
        self.contacts.sort();
        self.contacts.dedup();
        if self.contacts.len() > MOST_CONTACTS {
            return Err(ProtocolError::invalid("contacts", format_args!("are more than {MOST_CONTACTS}")));
        }
        if self.is_enabled && !self.to_students && self.contacts.is_empty() {
            return Err(ProtocolError::invalid("enabled", "nobody would be written to: say to whom"));
        }
        Ok(self)
    }
}

/// A site's policy as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WarningPolicy {
    /// What it says.
    pub policy: NewWarningPolicy,
    /// When it was changed, and by whom; `None`: never.
    pub changed: Option<(Timestamp, String)>,
}

/// A mail, for those who look after them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WarningMail {
    /// Made by the server.
    pub id: Uuid,
    /// Of whom it is.
    pub student: StudentRef,
    /// The term's name.
    pub term: String,
    /// Below which share.
    pub below: Rate,
    /// To whom.
    pub recipient: String,
    /// How often they were there, of how many sessions.
    pub share: (u32, u32),
    /// How far it is.
    pub state: MailState,
    /// How often it was tried.
    pub attempts: u32,
    /// What went wrong last; may be empty.
    pub problem: String,
    /// When it was noted.
    pub created_at: Timestamp,
    /// When the mail server took it.
    pub sent_at: Option<Timestamp>,
}

/// A mail that is to be noted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NewMail {
    pub(super) student: StudentId,
    pub(super) term: TermId,
    pub(super) recipient: String,
    pub(super) is_to_student: bool,
    pub(super) tally: Tally,
}

/// A mail that this server sends now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claimed {
    pub(super) site: SiteId,
    pub(super) id: Uuid,
    pub(super) recipient: String,
    pub(super) attempts: u32,
    pub(super) letter: Letter,
}

/// What a mail says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Letter {
    pub(super) school: String,
    pub(super) name: String,
    pub(super) number: String,
    pub(super) is_to_student: bool,
    pub(super) term: String,
    pub(super) days: (Date, Date),
    pub(super) below: Rate,
    pub(super) attended: u32,
    pub(super) counted: u32,
}

impl Letter {
    pub(super) fn subject(&self) -> String {
        let of =
            if self.is_to_student { String::new() } else { format!(" of {} ({})", self.name, self.number) };
        format!("Attendance{of} below {} in {}", self.below, self.term)
    }

    /// Plain text: how often somebody was there, and nothing of how that is known.
    pub(super) fn body(&self) -> String {
        let Self { school, name, number, term, days: (first, last), below, attended, counted, .. } = self;
        let tally = Tally { present: *attended, absent: counted - attended.min(counted), ..Tally::default() };
        let share = tally.rate().map_or(String::new(), |rate| format!(" ({rate})"));
        let sessions = if *counted == 1 { "session" } else { "sessions" };
        let (greeting, who, ask) = if self.is_to_student {
            (
                format!("Dear {name},"),
                "you were".to_owned(),
                "If something of this is wrong, tell your school",
            )
        } else {
            (
                "Good day,".to_owned(),
                format!("{name} ({number}) was"),
                "If something of this is wrong, tell the school",
            )
        };
        format!(
            "{greeting}\n\nin {term} ({first} to {last}) {who} at {attended} of {counted} {sessions}{share}. \
             {school} writes about this once a term, where it is less than {below}.\n\n\
             Sessions that were excused are not counted. {ask}: marks can be corrected.\n\n{school}\n"
        )
    }
}

/// When a mail is tried again that could not be sent; `None`: not any more.
pub(super) fn next_attempt(attempts: u32, now: Timestamp) -> Option<Timestamp> {
    let minutes = usize::try_from(attempts).ok()?.checked_sub(1).and_then(|place| PAUSES.get(place))?;
    now.checked_add(jiff::SignedDuration::from_mins(*minutes)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(is_to_student: bool) -> Letter {
        Letter {
            school: "Lycée".into(),
            name: "Ada".into(),
            number: "1001".into(),
            is_to_student,
            term: "Autumn".into(),
            days: ("2026-09-01".parse().unwrap(), "2026-12-18".parse().unwrap()),
            below: Rate::of_permille(800).unwrap(),
            attended: 7,
            counted: 11,
        }
    }

    #[test]
    fn letters_are_plain() {
        let own = letter(true);
        assert_eq!(own.subject(), "Attendance below 80.0 % in Autumn");
        assert!(own.body().starts_with("Dear Ada,\n\nin Autumn (2026-09-01 to 2026-12-18) you were at 7 of 11 sessions (63.6 %). Lycée writes"), "{}", own.body());
        let contact = letter(false);
        assert_eq!(contact.subject(), "Attendance of Ada (1001) below 80.0 % in Autumn");
        assert!(contact.body().contains("Ada (1001) was at 7 of 11 sessions"), "{}", contact.body());
        for word in ["face", "camera", "sighting", "recogni"] {
            assert!(
                !own.body().to_lowercase().contains(word) && !contact.body().to_lowercase().contains(word)
            );
        }
    }

    #[test]
    fn attempts_come_to_an_end() {
        let now = Timestamp::UNIX_EPOCH;
        let minutes = |attempts| next_attempt(attempts, now).map(|at| at.as_second() / 60);
        assert_eq!([1, 2, 7, 8].map(minutes), [Some(1), Some(5), Some(1440), None]);
        assert_eq!(minutes(0), None);
    }

    #[test]
    fn contacts_have_addresses() {
        assert_eq!(WarningContact::new(" 7B ", " a@b.example ").unwrap().email, "a@b.example");
        for wrong in
            ["", "a", "a@b@c", "a@b\r\nBcc: x@y", "A <a@b.example>", &format!("a@{}", "b".repeat(300))]
        {
            assert!(WarningContact::new("7B", wrong).is_err(), "{wrong}");
        }
        let policy = |is_enabled, to_students| NewWarningPolicy {
            is_enabled,
            below: Rate::of_permille(800).unwrap(),
            least_sessions: 5,
            to_students,
            contacts: Vec::new(),
        };
        assert!(policy(true, false).checked().is_err() && policy(false, false).checked().is_ok());
    }
}
