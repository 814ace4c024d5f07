use std::collections::BTreeSet;

use cavs_reports::Tally;
use cavs_types::{ClassSessionId, ErrorReason, GroupId, ProtocolError, SessionState, SiteId, StudentId};
use jiff::{Timestamp, civil::Date, tz::TimeZone};

use super::Sheets;
use crate::{
    attendance::{
        AttendanceStore, PersonReport, ReportDays, ReportHead, ReportSpan, RoomReport, SheetReport,
        WarningFilter, WarningReport, WeekOf, WeekReport, WeekRow,
    },
    db::Database,
    error::ServiceError,
    page::{ListName, PageRequest},
    schedule::{Days, ListPosition, ScheduleKey, ScheduleStore},
};

/// Most sessions of a week.
const MOST_SESSIONS: usize = 200;
/// Most people of a week.
const MOST_PEOPLE: usize = 2000;
/// Most marks of a week.
const MOST_MARKS: usize = 100_000;
/// Most rows of another report.
const MOST_ROWS: usize = 5000;
/// Terms that today is in, that are looked at.
const MOST_TERMS: u32 = 1000;

/// Attendance in numbers.
#[derive(Clone)]
pub struct Reports {
    store: AttendanceStore,
    schedule: ScheduleStore,
    sheets: Sheets,
}

impl Reports {
    /// Over these connections to the database.
    #[must_use]
    pub fn new(db: &Database, store: &AttendanceStore, sheets: &Sheets) -> Self {
        Self { store: store.clone(), schedule: ScheduleStore::new(db), sheets: sheets.clone() }
    }

    /// The sheet of a session.
    ///
    /// # Errors
    /// `CLASS_SESSION_NOT_FOUND`.
    pub async fn sheet(&self, site: SiteId, session: ClassSessionId) -> Result<SheetReport, ServiceError> {
        let sheet = self.sheets.sheet(site, session).await?;
        Ok(SheetReport { head: self.store.report_head(site).await?, sheet })
    }

    /// The week of a group or section that a day is in; without one, this week.
    ///
    /// # Errors
    /// `GROUP_NOT_FOUND`; `INVALID_ARGUMENT`: it is too much for one report.
    pub async fn week(
        &self,
        site: SiteId,
        of: WeekOf,
        day: Option<Date>,
    ) -> Result<WeekReport, ServiceError> {
        let head = self.store.report_head(site).await?;
        let days = ReportDays::week_of(day.unwrap_or_else(|| today(&head.zone)));
        let name = match &of {
            WeekOf::Group(group) => self.group_name(site, *group, &head).await?,
            WeekOf::Section(section) => section.clone(),
        };
        let between = days.moments(&head.zone);
        let sessions = self.store.week_sessions(site, &of, between, one_more(MOST_SESSIONS)).await?;
        bounded("sessions", sessions.len(), MOST_SESSIONS)?;
        let entries = self.store.week_marks(site, &of, between, one_more(MOST_MARKS)).await?;
        bounded("marks", entries.len(), MOST_MARKS)?;
        let is_over =
            |session: SessionState| matches!(session, SessionState::Closing | SessionState::Finalised);
        let over: BTreeSet<_> =
            sessions.iter().filter(|session| is_over(session.state)).map(|session| session.id).collect();
        let mut rows: Vec<WeekRow> = Vec::new();
        for entry in entries {
            if rows.last().is_none_or(|row| row.student.id != entry.student.id) {
                rows.push(WeekRow { student: entry.student, marks: Vec::new(), tally: Tally::default() });
            }
            if let Some(row) = rows.last_mut() {
                if over.contains(&entry.mark.session) {
                    row.tally.add(entry.mark.mark);
                }
                row.marks.push(entry.mark);
            }
        }
        bounded("people", rows.len(), MOST_PEOPLE)?;
        Ok(WeekReport { head, of: name, days, sessions, rows })
    }

    /// A person's sessions.
    ///
    /// # Errors
    /// `STUDENT_NOT_FOUND`, `TERM_NOT_FOUND`; `INVALID_ARGUMENT`: it is too much for one report.
    pub async fn person(
        &self,
        site: SiteId,
        who: StudentId,
        span: ReportSpan,
    ) -> Result<PersonReport, ServiceError> {
        let head = self.store.report_head(site).await?;
        let found = self.store.report_student(site, who).await?;
        let nobody =
            || ServiceError::refused(ErrorReason::StudentNotFound, format!("there is no student {who}"));
        let (student, section) = found.ok_or_else(nobody)?;
        let days = self.days(site, span, &head.zone).await?;
        let between = days.moments(&head.zone);
        let marks = self.store.person_marks(site, who, between, one_more(MOST_ROWS)).await?;
        bounded("marks", marks.len(), MOST_ROWS)?;
        let over = marks
            .iter()
            .filter(|listed| matches!(listed.session.state, SessionState::Closing | SessionState::Finalised));
        let tally = over.map(|listed| listed.mark.mark).collect();
        Ok(PersonReport { head, student, section, days, marks, tally })
    }

    /// Those who were there too seldom.
    ///
    /// # Errors
    /// `GROUP_NOT_FOUND`, `TERM_NOT_FOUND`; `INVALID_ARGUMENT`: they are too many for one report.
    pub async fn warnings(
        &self,
        site: SiteId,
        filter: &WarningFilter,
        span: ReportSpan,
    ) -> Result<WarningReport, ServiceError> {
        let head = self.store.report_head(site).await?;
        let group = match filter.group {
            Some(group) => self.group_name(site, group, &head).await?,
            None => String::new(),
        };
        let days = self.days(site, span, &head.zone).await?;
        let between = days.moments(&head.zone);
        let rows = self.store.warnings(site, filter, between, one_more(MOST_ROWS)).await?;
        bounded("people", rows.len(), MOST_ROWS)?;
        Ok(WarningReport { head, days, group, rows })
    }

    /// How rooms were used.
    ///
    /// # Errors
    /// `TERM_NOT_FOUND`; `INVALID_ARGUMENT`: they are too many for one report.
    pub async fn rooms(&self, site: SiteId, span: ReportSpan) -> Result<RoomReport, ServiceError> {
        let head = self.store.report_head(site).await?;
        let days = self.days(site, span, &head.zone).await?;
        let between = days.moments(&head.zone);
        let rows = self.store.room_use(site, between, one_more(MOST_ROWS)).await?;
        bounded("rooms", rows.len(), MOST_ROWS)?;
        Ok(RoomReport { head, days, rows })
    }

    async fn group_name(
        &self,
        site: SiteId,
        group: GroupId,
        head: &ReportHead,
    ) -> Result<String, ServiceError> {
        let found = self.schedule.group(site, &ScheduleKey::Id(group), today(&head.zone)).await?;
        let message = || format!("no group has the id {group}");
        Ok(found.ok_or_else(|| ServiceError::refused(ErrorReason::GroupNotFound, message()))?.name)
    }

    async fn days(
        &self,
        site: SiteId,
        span: ReportSpan,
        zone: &TimeZone,
    ) -> Result<ReportDays, ServiceError> {
        let today = today(zone);
        let (days, term) = match span {
            ReportSpan::Days(first, last) => {
                (Days::new(first, last.unwrap_or(today.max(first)))?, String::new())
            }
            ReportSpan::Term(id) => {
                let found = self.schedule.term(site, &ScheduleKey::Id(id)).await?;
                let message = || format!("no term has the id {id}");
                let term =
                    found.ok_or_else(|| ServiceError::refused(ErrorReason::TermNotFound, message()))?;
                (term.days, term.name)
            }
            ReportSpan::CurrentTerm => {
                let page: PageRequest<ListPosition<Date>> =
                    PageRequest::new(MOST_TERMS, "", false, ListName::new("terms"))
                        .map_err(|reason| ServiceError::refused(reason, "terms can't be listed"))?;
                let terms = self.schedule.terms(site, Some(today), &page).await?.items;
                let shortest = terms.into_iter().min_by_key(|term| term.days.iter().count());
                let none =
                    ProtocolError::invalid("start_date", "today is in no term: say from when until when");
                let term = shortest.ok_or(none)?;
                (term.days, term.name)
            }
        };
        Ok(ReportDays::new(days, term)?)
    }
}

fn today(zone: &TimeZone) -> Date {
    Timestamp::now().to_zoned(zone.clone()).date()
}

fn one_more(most: usize) -> i64 {
    i64::try_from(most).unwrap_or(i64::MAX - 1) + 1
}

/// A report is one answer: what is too much for one is refused, and nothing is left out unseen.
fn bounded(what: &'static str, found: usize, most: usize) -> Result<(), ServiceError> {
    if found <= most {
        return Ok(());
    }
    let message = format_args!("has more than {most} {what}: choose a group, a section or fewer days");
    Err(ProtocolError::invalid("days", message).into())
}
