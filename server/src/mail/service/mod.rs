mod mails;
mod sender;
mod smtp;

pub use mails::WarningMails;
pub use sender::MailSender;
pub(super) use smtp::Posted;
pub use smtp::SmtpTransport;
