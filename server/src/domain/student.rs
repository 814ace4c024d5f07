use cavs_proto::{ProtocolError, StudentId};
use jiff::Timestamp;

use super::text;

/// Somebody who is recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Student {
    /// Ours.
    pub id: StudentId,
    /// The site's own number; unique.
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
}

/// What an erasure destroyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Erased {
    /// Templates.
    pub templates: u64,
    /// Sightings whose probe and picture are gone.
    pub sightings: u64,
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
            number: text::required_line("number", number, 64)?,
            name: text::required_line("name", name, 200)?,
            section: text::line("section", section, 200)?,
        })
    }
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
    fn wrong_fields_are_named() {
        assert!(NewStudent::new(" 17 ", "Ada", "").is_ok_and(|s| s.number == "17"));
        let error = |n, m, s| NewStudent::new(n, m, s).unwrap_err().to_string();
        assert_eq!(error(" ", "Ada", ""), "number: is required");
        assert_eq!(error("1", "A\u{1b}[31m", ""), "name: control characters are not allowed");
        assert_eq!(error("1", "A", &"x".repeat(201)), "section: at most 200 characters");
    }
}
