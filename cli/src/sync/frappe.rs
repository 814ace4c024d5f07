//! How Frappe and ERPNext are asked, and what their answers mean. (Frappe's REST API; Frappe HR's `Employee Checkin` and
//! `Attendance`; Frappe Education's `Student Attendance`.)

use std::time::Duration;

use http::StatusCode;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Item, Target,
    http::Reply,
    plan::{DayStatus, What},
};

/// Method of Frappe HR that finds the employee by a field of theirs.
const CHECK_IN: &str =
    "/api/method/hrms.hr.doctype.employee_checkin.employee_checkin.add_log_based_on_employee_field";
/// What Frappe says of what it has: of its documents, and in the words of Frappe HR and Education.
const DUPLICATES: [&str; 3] = ["DuplicateEntryError", "DuplicateAttendanceError", "UniqueValidationError"];
const DUPLICATE_WORDS: [&str; 3] =
    ["already has a log with the same timestamp", "already exists against the student", "is already marked"];

/// A request: path, and the body of a `POST`.
pub(super) fn request(item: &Item, target: &Target) -> (String, Value) {
    match &item.what {
        What::CheckIn { at, comes } => (
            CHECK_IN.to_owned(),
            json!({
                "employee_field_value": item.person,
                "employee_fieldname": target.employee_field,
                "timestamp": at.strftime("%F %T").to_string(),
                "log_type": if *comes { "IN" } else { "OUT" },
                // Says of each log which item it is: that is how it is found again.
                "device_id": mark_of(item),
            }),
        ),
        What::Day { date, group: None, status } => (
            "/api/resource/Attendance".to_owned(),
            json!({
                "employee": item.person,
                "attendance_date": date.to_string(),
                "status": match status {
                    DayStatus::Present => "Present",
                    DayStatus::Absent => "Absent",
                    DayStatus::Excused => "On Leave",
                },
                "docstatus": 1,
            }),
        ),
        What::Day { date, group: Some(group), status } => (
            "/api/resource/Student%20Attendance".to_owned(),
            json!({
                "student": item.person,
                "date": date.to_string(),
                "student_group": group,
                "status": match status {
                    DayStatus::Present => "Present",
                    DayStatus::Absent => "Absent",
                    DayStatus::Excused => "Leave",
                },
                "docstatus": 1,
            }),
        ),
    }
}

/// The path that lists the item, where the other system has it.
pub(super) fn search(item: &Item) -> String {
    let (of, filters) = match &item.what {
        What::CheckIn { .. } => ("Employee%20Checkin", json!([["device_id", "=", mark_of(item)]])),
        What::Day { date, group: None, .. } => (
            "Attendance",
            json!([
                ["employee", "=", item.person],
                ["attendance_date", "=", date.to_string()],
                ["docstatus", "!=", 2]
            ]),
        ),
        What::Day { date, group: Some(group), .. } => (
            "Student%20Attendance",
            json!([
                ["student", "=", item.person],
                ["date", "=", date.to_string()],
                ["student_group", "=", group],
                ["docstatus", "!=", 2]
            ]),
        ),
    };
    let filters = filters.to_string();
    format!(
        "/api/resource/{of}?filters={}&limit_page_length=1",
        utf8_percent_encode(&filters, NON_ALPHANUMERIC)
    )
}

fn mark_of(item: &Item) -> String {
    format!("cavs/{}", item.key)
}

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// It was taken.
    Taken,
    /// The other system had it.
    Duplicate,
    /// It was not taken, and won't be.
    Refused(String),
    /// It was not taken, and may be later.
    Later(Option<Duration>),
    /// Nobody knows whether it was taken.
    Unknown(String),
    /// The key is not one to be let in.
    Unauthorised(String),
}

pub(super) fn meaning(reply: &Reply) -> Meaning {
    match reply {
        // That nothing was sent is certain.
        Reply::NotSent(_) => Meaning::Later(None),
        Reply::Lost(problem) => Meaning::Unknown(problem.clone()),
        Reply::Answer { status, body, retry_after } => {
            let said = said(body);
            let is_duplicate = || {
                let words = said.message.to_lowercase();
                DUPLICATES.contains(&said.kind.as_str())
                    || DUPLICATE_WORDS.iter().any(|known| words.contains(known))
            };
            match *status {
                status if status.is_success() => Meaning::Taken,
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                    Meaning::Unauthorised(said.shown(*status))
                }
                StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                    Meaning::Later(*retry_after)
                }
                StatusCode::CONFLICT => Meaning::Duplicate,
                _ if is_duplicate() => Meaning::Duplicate,
                // A gateway's word, or a fault in the middle: it may have been written before.
                status if status.is_server_error() => Meaning::Unknown(said.shown(status)),
                status => Meaning::Refused(said.shown(status)),
            }
        }
    }
}

/// Whether a search has found something; `None`: the answer is none.
pub(super) fn found(reply: &Reply) -> Option<bool> {
    #[derive(Deserialize)]
    struct Found {
        data: Vec<Value>,
    }
    match reply {
        Reply::Answer { status, body, .. } if status.is_success() => {
            serde_json::from_slice::<Found>(body).ok().map(|found| !found.data.is_empty())
        }
        Reply::Answer { .. } | Reply::NotSent(_) | Reply::Lost(_) => None,
    }
}

/// Frappe's words of an error.
#[derive(Debug, Default)]
struct Said {
    kind: String,
    message: String,
}

impl Said {
    fn shown(&self, status: StatusCode) -> String {
        let message: String = self.message.chars().take(300).collect();
        if message.is_empty() { status.to_string() } else { format!("{message} ({})", status.as_u16()) }
    }
}

/// `exception` is "module.Kind: message"; `_server_messages` is JSON of JSON for people.
fn said(body: &[u8]) -> Said {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Body {
        exc_type: String,
        exception: String,
        #[serde(rename = "_server_messages")]
        messages: String,
    }
    let body: Body = serde_json::from_slice(body).unwrap_or_default();
    let message = || {
        let messages: Vec<String> = serde_json::from_str(&body.messages).ok()?;
        let first: Value = serde_json::from_str(messages.first()?).ok()?;
        Some(first.get("message")?.as_str()?.to_owned())
    };
    let message = message()
        .or_else(|| body.exception.split_once(": ").map(|(_, message)| message.to_owned()))
        .unwrap_or_else(|| body.exception.clone());
    Said { kind: body.exc_type, message: without_tags(&message) }
}

/// Messages are HTML.
fn without_tags(text: &str) -> String {
    let (mut plain, mut inside) = (String::new(), false);
    for c in text.chars() {
        match c {
            '<' => inside = true,
            '>' if inside => inside = false,
            c if !inside => plain.push(c),
            _ => {}
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Meaning {
        let status = StatusCode::from_u16(status).unwrap();
        let retry_after = Some(Duration::from_secs(7));
        meaning(&Reply::Answer { status, body: body.to_owned().into(), retry_after })
    }

    #[test]
    fn answers_mean_what_frappe_means() {
        assert_eq!(answer(200, r#"{"message": {"name": "EMP-CKIN-1"}}"#), Meaning::Taken);
        let messages = serde_json::to_string(&[r#"{"message": "This employee already has a log with the same timestamp.<br><a href=\"/x\">1</a>"}"#]).unwrap();
        let taken = json!({"exc_type": "ValidationError", "_server_messages": messages}).to_string();
        assert_eq!(answer(417, &taken), Meaning::Duplicate);
        let marked = r#"{"exc_type": "DuplicateAttendanceError", "exception": "hrms.DuplicateAttendanceError: Attendance for employee E is already marked"}"#;
        assert_eq!(answer(417, marked), Meaning::Duplicate);
        assert_eq!(answer(409, ""), Meaning::Duplicate);
        let nobody = r#"{"exc_type": "ValidationError", "exception": "frappe.exceptions.ValidationError: No Employee found for the given employee field value. 'attendance_device_id': <b>7</b>"}"#;
        assert_eq!(
            answer(417, nobody),
            Meaning::Refused(
                "No Employee found for the given employee field value. 'attendance_device_id': 7 (417)"
                    .into()
            )
        );
        assert_eq!(answer(404, "<html>"), Meaning::Refused("404 Not Found".into()));
        assert_eq!(answer(429, ""), Meaning::Later(Some(Duration::from_secs(7))));
        assert_eq!(answer(500, "oops"), Meaning::Unknown("500 Internal Server Error".into()));
        assert_eq!(answer(403, ""), Meaning::Unauthorised("403 Forbidden".into()));
        assert_eq!(meaning(&Reply::NotSent("refused".into())), Meaning::Later(None));
        assert_eq!(meaning(&Reply::Lost("reset".into())), Meaning::Unknown("reset".into()));
        // Anything at all comes out of a body.
        for body in ["", "[]", "null", r#"{"_server_messages": "x"}"#, r#"{"exc_type": 5}"#] {
            assert!(matches!(answer(417, body), Meaning::Refused(_)), "{body}");
        }
    }
}
