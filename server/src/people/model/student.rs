use std::borrow::Cow;

use cavs_types::{PhotoConsent, ProtocolError, StudentField, StudentId};
use jiff::{Timestamp, civil::Date};

use crate::{biometrics::Erasure, page::ListName, text};

/// Longest e-mail address, in characters (RFC 5321, 4.5.3.1.3).
const EMAIL: usize = 254;

/// What people say of a student.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StudentProfile {
    /// The site's own number; unique in it, 1 to 64 characters.
    pub number: String,
    /// As people call them: 1 to 200 characters.
    pub name: String,
    /// E-mail address as it was typed; unique in the site in any case; may be empty.
    pub email: String,
    /// At most 200 characters; may be empty.
    pub department: String,
    /// Class, course or group: at most 200 characters; may be empty.
    pub section: String,
    /// What another system calls the student: unique in the site, at most 200 characters; may be empty.
    pub external_id: String,
    /// Since when they belong to the site.
    pub enrollment_date: Option<Date>,
    /// Whether they may be recognised.
    pub photo_consent: PhotoConsent,
}

impl Default for StudentProfile {
    fn default() -> Self {
        let empty = String::new;
        Self {
            number: empty(),
            name: empty(),
            email: empty(),
            department: empty(),
            section: empty(),
            external_id: empty(),
            enrollment_date: None,
            photo_consent: PhotoConsent::Unknown,
        }
    }
}

impl StudentProfile {
    /// A profile of what a person typed, by field; the others are empty.
    ///
    /// # Errors
    /// `Missing` or `Invalid`, by field.
    pub fn of(fields: &[(StudentField, &str)]) -> Result<Self, ProtocolError> {
        let mut profile = Self::default();
        for (field, text) in fields {
            profile.set(*field, text)?;
        }
        profile.complete()
    }

    /// Sets a field to what a person typed.
    ///
    /// # Errors
    /// `Invalid`, or `Missing` where it must not be empty.
    pub fn set(&mut self, field: StudentField, typed: &str) -> Result<(), ProtocolError> {
        let name = field.as_str();
        match field {
            StudentField::Number => {
                let number = text::required(name, text::identifier(name, typed, 64)?)?;
                self.number = not_reserved(number)?;
            }
            StudentField::Name => self.name = text::required(name, text::name(name, typed, 200)?)?,
            StudentField::Email => self.email = email(typed)?,
            StudentField::Department => self.department = text::name(name, typed, 200)?,
            StudentField::Section => self.section = text::name(name, typed, 200)?,
            StudentField::ExternalId => self.external_id = text::identifier(name, typed, 200)?,
            StudentField::EnrollmentDate => self.enrollment_date = date(typed)?,
            StudentField::PhotoConsent => {
                self.photo_consent = match typed.trim() {
                    "" => PhotoConsent::Unknown,
                    typed => typed.to_lowercase().parse().map_err(|_| {
                        ProtocolError::invalid(name, format_args!("{typed:?}: say given, refused or unknown"))
                    })?,
                }
            }
        }
        Ok(())
    }

    /// A field as text, as [`Self::set`] takes it.
    #[must_use]
    pub fn get(&self, field: StudentField) -> Cow<'_, str> {
        match field {
            StudentField::Number => Cow::Borrowed(&self.number),
            StudentField::Name => Cow::Borrowed(&self.name),
            StudentField::Email => Cow::Borrowed(&self.email),
            StudentField::Department => Cow::Borrowed(&self.department),
            StudentField::Section => Cow::Borrowed(&self.section),
            StudentField::ExternalId => Cow::Borrowed(&self.external_id),
            StudentField::EnrollmentDate => {
                Cow::Owned(self.enrollment_date.map(|date| date.to_string()).unwrap_or_default())
            }
            StudentField::PhotoConsent => Cow::Borrowed(self.photo_consent.as_str()),
        }
    }

    /// The profile, with all that it must have.
    ///
    /// # Errors
    /// `Missing`, by field.
    pub fn complete(self) -> Result<Self, ProtocolError> {
        for field in [StudentField::Number, StudentField::Name] {
            if self.get(field).is_empty() {
                return Err(ProtocolError::Missing { field: field.as_str() });
            }
        }
        Ok(self)
    }

    /// The words that the student is looked for by, parted by spaces.
    #[must_use]
    pub fn name_words(&self) -> String {
        text::words(&self.name).join(" ")
    }

    /// The e-mail address as it is compared.
    #[must_use]
    pub fn email_key(&self) -> String {
        self.email.to_lowercase()
    }
}

/// An address, in one form: what is before the `@` and behind it is for mail servers to judge.
fn email(typed: &str) -> Result<String, ProtocolError> {
    let field = StudentField::Email.as_str();
    let address = text::identifier(field, typed, EMAIL)?;
    let parts = address.rsplit_once('@');
    let is_address = parts.is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty());
    if !address.is_empty() && (!is_address || address.contains(char::is_whitespace)) {
        return Err(ProtocolError::invalid(field, "is no e-mail address"));
    }
    Ok(address)
}

/// A day; empty is none.
fn date(typed: &str) -> Result<Option<Date>, ProtocolError> {
    let typed = typed.trim();
    if typed.is_empty() {
        return Ok(None);
    }
    let shown: String = typed.chars().take(32).collect();
    let problem = || {
        let problem = format!("{shown:?} is no date: say it as 2026-09-01");
        ProtocolError::invalid(StudentField::EnrollmentDate.as_str(), problem)
    };
    // Of ISO 8601's forms the one that everybody reads alike.
    let date = Date::strptime("%Y-%m-%d", typed).map_err(|_| problem())?;
    if (1..=9999).contains(&date.year()) { Ok(Some(date)) } else { Err(problem()) }
}

/// What people can change of a student, in one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StudentState {
    /// Made by the server.
    pub id: StudentId,
    /// What people say of them.
    pub profile: StudentProfile,
    /// Whether they belong to the site now; who does not is not recognised.
    pub is_active: bool,
    /// One more with each change.
    pub version: StudentVersion,
}

impl StudentState {
    /// Of a student who is new.
    #[must_use]
    pub fn new(profile: StudentProfile) -> Self {
        Self { id: StudentId::generate(), profile, is_active: true, version: StudentVersion(1) }
    }

    /// Changes them.
    ///
    /// # Errors
    /// `Missing` or `Invalid`, by field.
    pub fn change(&mut self, change: &StudentChange) -> Result<(), ProtocolError> {
        match change {
            StudentChange::Active(active) => self.is_active = *active,
            StudentChange::Fields(fields) => {
                fields.iter().try_for_each(|(field, typed)| self.profile.set(*field, typed))?;
            }
        }
        Ok(())
    }

    /// Whether the student is recognised, where they are enrolled.
    #[must_use]
    pub fn is_matched(&self) -> bool {
        self.is_active && self.profile.photo_consent != PhotoConsent::Refused
    }
}

/// Somebody who is recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Student {
    /// Who they are.
    pub state: StudentState,
    /// When they were added.
    pub created_at: Timestamp,
    /// When they were changed.
    pub updated_at: Timestamp,
    /// Enrolled templates.
    pub template_count: u32,
    /// When the face was erased.
    pub erased_at: Option<Timestamp>,
    /// How far that is.
    pub erasure: Option<Erasure>,
    /// They have changed, as their sightings say, and should be enrolled anew.
    pub re_enroll: bool,
}

/// Which state of a student somebody has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StudentVersion(pub i64);

impl StudentVersion {
    /// As an etag.
    #[must_use]
    pub fn etag(self) -> String {
        self.0.to_string()
    }

    /// Reads an etag; empty is none.
    ///
    /// # Errors
    /// `Invalid`: no etag of a student.
    pub fn from_etag(etag: &str) -> Result<Option<Self>, ProtocolError> {
        if etag.is_empty() {
            return Ok(None);
        }
        etag.parse()
            .map(|version| Some(Self(version)))
            .map_err(|_| ProtocolError::invalid("etag", "is none of a student"))
    }
}

/// A change of a student.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StudentChange {
    /// Fields, to what a person typed.
    Fields(Vec<(StudentField, String)>),
    /// Whether they belong to the site.
    Active(bool),
}

/// A student as lists name them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StudentRef {
    /// Made by the server.
    pub id: StudentId,
    /// The site's.
    pub number: String,
    /// As people call them.
    pub name: String,
}

impl From<StudentState> for StudentRef {
    fn from(state: StudentState) -> Self {
        Self { id: state.id, number: state.profile.number, name: state.profile.name }
    }
}

/// Which students.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StudentFilter {
    /// Of this section.
    pub section: Option<String>,
    /// Of this department.
    pub department: Option<String>,
    /// Whom a person looks for.
    pub search: Option<StudentSearch>,
    /// With templates, or without.
    pub enrolled: Option<bool>,
    /// Active, or not.
    pub active: Option<bool>,
    /// With this consent.
    pub photo_consent: Option<PhotoConsent>,
    /// To be enrolled anew, or not.
    pub re_enroll: Option<bool>,
}

/// Whom a person looks for: by words of the name, or by how the number begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StudentSearch {
    /// Each begins a word of the name; in small letters, without accents.
    pub words: Vec<String>,
    /// How the number begins, in any case; `None` where no number begins so.
    pub number: Option<String>,
}

impl StudentSearch {
    /// Reads what a person types; empty looks for nobody.
    ///
    /// # Errors
    /// `Invalid`.
    pub fn new(typed: &str) -> Result<Option<Self>, ProtocolError> {
        let typed = text::lookup_name("query", typed)?;
        // Names may hold what numbers may not.
        let number = text::lookup_number("query", &typed).ok();
        Ok((!typed.is_empty()).then(|| Self { words: text::words(&typed), number }))
    }
}

impl StudentFilter {
    /// The list that page tokens are of.
    #[must_use]
    pub fn list_name(&self) -> ListName {
        let Self { section, department, search, enrolled, active, photo_consent, re_enroll } = self;
        let said = |value: &Option<bool>| value.map(|value| if value { "yes" } else { "no" });
        let search = search.as_ref();
        let words = search.map(|search| search.words.join(" "));
        ListName::new("students")
            .with("section", section.as_deref())
            .with("department", department.as_deref())
            .with("words", words.as_deref())
            .with("number", search.and_then(|search| search.number.as_deref()))
            .with("enrolled", said(enrolled))
            .with("active", said(active))
            .with("photo_consent", photo_consent.map(PhotoConsent::as_str))
            .with("re_enroll", said(re_enroll))
    }
}

/// What the numbers of erased students begin with.
const ERASED: &str = "erased-";

fn not_reserved(number: String) -> Result<String, ProtocolError> {
    if number.starts_with(ERASED) {
        return Err(ProtocolError::invalid("number", "begins as the pseudonyms of erased students do"));
    }
    Ok(number)
}

/// What an erased student is called in the place of their number: digits of the id that are random.
#[must_use]
pub fn pseudonym(id: StudentId) -> String {
    format!("{ERASED}{:016x}", id.uuid().as_u64_pair().1)
}

/// How a student is named in a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StudentKey {
    /// By our id.
    Id(StudentId),
    /// By the site's number.
    Number(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pseudonyms_say_nothing_and_differ() {
        let id: StudentId = "01890000-0000-7000-8000-0000000000ad".parse().unwrap();
        assert_eq!(pseudonym(id), "erased-80000000000000ad");
    }

    #[test]
    fn wrong_fields_are_named() {
        use StudentField::{
            Email, EnrollmentDate, ExternalId, Name, Number, PhotoConsent as Consent, Section,
        };
        let of = |fields: &[(StudentField, &str)]| {
            let fields = [&[(Number, " 17 "), (Name, "Ada")], fields].concat();
            StudentProfile::of(&fields).map_err(|problem| problem.to_string())
        };
        let profile =
            of(&[(Email, " Ada@Example.org"), (EnrollmentDate, "2026-09-01"), (Consent, "Given")]).unwrap();
        assert_eq!((profile.number.as_str(), profile.email_key().as_str()), ("17", "ada@example.org"));
        assert_eq!(profile.get(EnrollmentDate), "2026-09-01");
        assert_eq!(profile.photo_consent, PhotoConsent::Given);
        let error = |field, text: &str| of(&[(field, text)]).unwrap_err();
        assert_eq!(error(Number, " "), "number: is required");
        assert_eq!(error(Name, "A\u{1b}[31m"), "name: control characters are not allowed");
        assert_eq!(error(Section, &"x".repeat(201)), "section: at most 200 characters");
        assert_eq!(
            error(ExternalId, "a\u{200b}"),
            "external_id: the character U+200B can't be seen and is not allowed"
        );
        for none in ["ada", "@example.org", "ada@", "a da@example.org"] {
            assert_eq!(error(Email, none), "email: is no e-mail address");
        }
        for none in ["1.9.2026", "2026-02-30", "2026-9", "-2026-01-01"] {
            assert!(error(EnrollmentDate, none).contains("is no date: say it as 2026-09-01"), "{none}");
        }
        assert_eq!(error(Consent, "Yes"), "photo_consent: \"Yes\": say given, refused or unknown");
        assert_eq!(
            error(Number, &pseudonym(StudentId::generate())),
            "number: begins as the pseudonyms of erased students do"
        );
        assert_eq!(StudentProfile::of(&[(Number, "1")]).unwrap_err().to_string(), "name: is required");
    }

    #[test]
    fn every_field_reads_what_it_says() {
        let mut profile = StudentProfile::default();
        let values = ["17", "Ada", "a@b", "d", "s", "x-1", "2026-09-01", "refused"];
        for (&field, value) in StudentField::ALL.iter().zip(values) {
            profile.set(field, value).unwrap();
            assert_eq!(profile.get(field), value);
        }
        let again = StudentField::ALL
            .iter()
            .map(|&field| (field, profile.get(field).into_owned()))
            .collect::<Vec<_>>();
        let again: Vec<_> = again.iter().map(|(field, text)| (*field, text.as_str())).collect();
        assert_eq!(StudentProfile::of(&again), Ok(profile));
    }

    #[test]
    fn people_are_looked_for_by_name_or_number() {
        let search = StudentSearch::new(" Zo\u{eb} M\u{fc}ller-A1").unwrap().unwrap();
        assert_eq!(search.words, ["a1", "muller", "zoe"]);
        assert_eq!(search.number.as_deref(), Some("Zo\u{eb} M\u{fc}ller-A1"));
        let joined = StudentSearch::new("\u{645}\u{6cc}\u{200c}\u{631}\u{636}\u{627}").unwrap().unwrap();
        assert_eq!((joined.number, joined.words.len()), (None, 1));
        assert_eq!(StudentSearch::new("  ").unwrap(), None);
    }

    #[test]
    fn etags_are_versions() {
        assert_eq!(StudentVersion::from_etag(&StudentVersion(7).etag()), Ok(Some(StudentVersion(7))));
        assert_eq!(StudentVersion::from_etag(""), Ok(None));
        assert!(StudentVersion::from_etag("x").is_err());
    }
}
