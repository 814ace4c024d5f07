//! Mails to those who were there too seldom, after marks are final. Off unless a site wants it.

mod model;
mod service;
mod store;

pub use model::{MailState, NewWarningPolicy, WarningContact, WarningMail, WarningPolicy};
pub use service::{MailSender, SmtpTransport, WarningMails};
pub use store::MailStore;
