use cavs_types::{ProtocolError, StudentId};
use jiff::Timestamp;

use crate::{biometrics::Erasure, page::ListName, text};

/// Somebody who is recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Student {
    /// Ours.
    pub id: StudentId,
    /// The site's own number; unique in it.
    pub number: String,
    /// As people call them.
    pub name: String,
    /// Class, course or department; may be empty.
    pub section: String,
    /// When they were added.
    pub created_at: Timestamp,
    /// Enrolled templates.
    pub template_count: u32,
    /// When the face was erased.
    pub erased_at: Option<Timestamp>,
    /// How far that is.
    pub erasure: Option<Erasure>,
}

/// A student as lists name them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StudentRef {
    /// Ours.
    pub id: StudentId,
    /// The site's.
    pub number: String,
    /// As people call them.
    pub name: String,
}

/// Which students.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StudentFilter {
    /// Of this section.
    pub section: Option<String>,
    /// With a name of which each of these, in small letters, begins a word.
    pub words: Vec<String>,
}

impl StudentFilter {
    /// Reads what a person asks for; empty is not asked for.
    ///
    /// # Errors
    /// `Invalid`, by field.
    pub fn new(section: &str, name: &str) -> Result<Self, ProtocolError> {
        let section = text::lookup_name("section", section)?;
        let section = (!section.is_empty()).then_some(section);
        Ok(Self { section, words: text::words(&text::lookup_name("name", name)?) })
    }

    /// The list that page tokens are of.
    #[must_use]
    pub fn list_name(&self) -> ListName {
        let words = self.words.join(" ");
        ListName::new("students").with("section", self.section.as_deref()).with("words", Some(&words))
    }
}

/// A student to be added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewStudent {
    /// The site's own number; unique, 1 to 64 characters.
    pub number: String,
    /// 1 to 200 characters.
    pub name: String,
    /// At most 200 characters.
    pub section: String,
}

impl NewStudent {
    /// Checks what a person typed.
    ///
    /// # Errors
    /// `Missing` or `Invalid`, by field.
    pub fn new(number: &str, name: &str, section: &str) -> Result<Self, ProtocolError> {
        Ok(Self {
            number: text::required("number", text::identifier("number", number, 64)?)
                .and_then(not_reserved)?,
            name: text::required("name", text::name("name", name, 200)?)?,
            section: text::name("section", section, 200)?,
        })
    }

    /// The words that the student is looked for by.
    #[must_use]
    pub fn name_words(&self) -> Vec<String> {
        text::words(&self.name)
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
        assert!(NewStudent::new(" 17 ", "Ada", "").is_ok_and(|s| s.number == "17"));
        let error = |n: &str, m: &str, s: &str| NewStudent::new(n, m, s).unwrap_err().to_string();
        assert_eq!(error(" ", "Ada", ""), "number: is required");
        assert_eq!(error("1", "A\u{1b}[31m", ""), "name: control characters are not allowed");
        assert_eq!(error("1", "A", &"x".repeat(201)), "section: at most 200 characters");
        assert_eq!(
            error(&pseudonym(StudentId::generate()), "A", ""),
            "number: begins as the pseudonyms of erased students do"
        );
    }
}
