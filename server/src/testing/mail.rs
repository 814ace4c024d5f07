//! Warning mails against a real database and a small mail server.

use std::sync::Arc;

use cavs_reports::Rate;
use cavs_types::{MailState, Mark};
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::CancellationToken;

use super::reports::School;
use crate::{
    attendance::AttendanceStore,
    config::{MailConfig, MailSecurity},
    mail::{MailSender, NewWarningPolicy, SmtpTransport, WarningContact, WarningMail},
    page::{ListName, PageRequest},
    schedule::{Days, NewTerm},
    testing::MAIN,
};

/// What a mail server does with the next mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Does {
    /// Not now, before the mail is handed over.
    DefersSender,
    /// Never.
    RefusesRecipient,
    /// Not now, after the mail was handed over.
    DefersMail,
    /// The connection is dropped before the mail is handed over.
    DropsBefore,
    /// It is taken, and the connection is dropped before that is said.
    DropsAfter,
}

/// A mail server that takes what it is given.
#[derive(Clone, Default)]
struct MailServer {
    port: u16,
    does: Arc<Mutex<Vec<Does>>>,
    mails: Arc<Mutex<Vec<String>>>,
}

impl MailServer {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self { port: listener.local_addr().unwrap().port(), ..Self::default() };
        let serving = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = serving.clone();
                tokio::spawn(async move { server.converse(stream).await });
            }
        });
        server
    }

    fn next(&self, does: &[Does]) {
        self.does.lock().extend(does);
    }

    fn mails(&self) -> Vec<String> {
        self.mails.lock().clone()
    }

    async fn converse(&self, stream: TcpStream) {
        let does = {
            let mut does = self.does.lock();
            if does.is_empty() { None } else { Some(does.remove(0)) }
        };
        let mut stream = BufReader::new(stream);
        stream.get_mut().write_all(b"220 here\r\n").await.unwrap();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                return;
            }
            let verb = line.get(..4).unwrap_or_default().to_uppercase();
            let answer: &[u8] = match (verb.as_str(), does) {
                ("EHLO", _) => b"250-here\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n",
                ("MAIL", Some(Does::DefersSender)) => b"451 later\r\n",
                ("RCPT", Some(Does::RefusesRecipient)) => b"550 no such person\r\n",
                ("DATA", Some(Does::DropsBefore)) => return,
                ("MAIL" | "RCPT" | "RSET", _) => b"250 well\r\n",
                ("DATA", _) => {
                    stream.get_mut().write_all(b"354 go on\r\n").await.unwrap();
                    let mut mail = String::new();
                    while !mail.ends_with("\r\n.\r\n") {
                        if stream.read_line(&mut mail).await.unwrap_or(0) == 0 {
                            return;
                        }
                    }
                    if does == Some(Does::DefersMail) {
                        b"452 full\r\n"
                    } else {
                        self.mails.lock().push(mail);
                        if does == Some(Does::DropsAfter) {
                            return;
                        }
                        b"250 taken\r\n"
                    }
                }
                ("QUIT", _) => b"221 bye\r\n",
                _ => b"502 what\r\n",
            };
            if stream.get_mut().write_all(answer).await.is_err() || verb == "QUIT" {
                return;
            }
        }
    }
}

fn sender(school: &School, server: &MailServer) -> MailSender {
    let config = MailConfig {
        host: "127.0.0.1".into(),
        port: server.port,
        security: MailSecurity::None,
        authority: None,
        credentials: None,
        from: "Lycée <attendance@school.example>".into(),
    };
    let marks = AttendanceStore::new(&school.database.store, None);
    MailSender::new(&school.database.store, &marks, SmtpTransport::new(&config).unwrap())
}

async fn mails(school: &School) -> Vec<WarningMail> {
    let page = PageRequest::new(100, "", false, ListName::new("warning mails")).unwrap();
    let mut found = school.app.warning_mails.list(MAIN, None, &page).await.unwrap().items;
    found.sort_by(|one, other| one.recipient.cmp(&other.recipient));
    found
}

async fn states(school: &School) -> Vec<MailState> {
    mails(school).await.iter().map(|mail| mail.state).collect()
}

/// Sends what is due; what is tried again later is due at once.
async fn send(school: &School, sender: &MailSender) -> Vec<MailState> {
    sender.send_due(&CancellationToken::new()).await.unwrap();
    let sql = "UPDATE warning_mails SET due_at = now() WHERE state = 'waiting'";
    school.owner.execute(sql, &[]).await.unwrap();
    states(school).await
}

/// A school whose second student was absent from five of six sessions; they and their section are written to.
async fn warned(final_too: bool) -> (School, MailServer, MailSender) {
    let school = School::start().await;
    let server = MailServer::start().await;
    let sender = sender(&school, &server);
    let now = Timestamp::now();
    let today = now.to_zoned(jiff::tz::TimeZone::UTC).date();
    let days = Days::ahead(today.saturating_sub(jiff::Span::new().days(30)), 60);
    let new = NewTerm { name: "Autumn".into(), days, external_id: String::new() };
    school.app.terms.create(MAIN, &new).await.unwrap();
    let sql = "UPDATE students SET email = 'ada@school.example', email_key = 'ada@school.example' WHERE number = '2'";
    school.owner.execute(sql, &[]).await.unwrap();
    for hours in 1..=6 {
        let start = (now - SignedDuration::from_hours(24 * hours)).to_string();
        let said = if hours == 1 { Mark::Late } else { Mark::Absent };
        let state = if final_too { "finalised" } else { "closing" };
        school.session(&start, state, [Some(Mark::Present), Some(said)]).await;
    }
    (school, server, sender)
}

async fn enable(school: &School) {
    let policy = NewWarningPolicy {
        is_enabled: true,
        below: Rate::of_permille(800).unwrap(),
        least_sessions: 5,
        to_students: true,
        contacts: vec![
            WarningContact::new("B", "office@school.example").unwrap(),
            WarningContact::new("C", "nobody@school.example").unwrap(),
        ],
    };
    school.app.warning_mails.set_policy(MAIN, policy, school.admin).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn each_is_written_to_once_after_marks_are_final() {
    let (school, server, sender) = warned(false).await;
    let note = async || sender.note(Timestamp::now()).await.unwrap();
    note().await;
    assert!(mails(&school).await.is_empty(), "nobody wants any");
    enable(&school).await;
    note().await;
    assert!(mails(&school).await.is_empty(), "nothing is final");
    school
        .owner
        .execute("UPDATE class_sessions SET state = 'finalised', updated_at = now()", &[])
        .await
        .unwrap();
    note().await;
    assert_eq!(states(&school).await, [MailState::Waiting; 2]);
    assert_eq!(send(&school, &sender).await, [MailState::Sent; 2]);
    let sent = server.mails();
    assert_eq!(sent.len(), 2);
    let to = |who: &str| sent.iter().find(|mail| mail.contains(&format!("To: {who}"))).unwrap();
    assert!(to("ada@school.example").contains("you were at 1 of 6 sessions"), "{}", to("ada@school.example"));
    assert!(
        to("office@school.example").contains("(2) was at 1 of 6 sessions"),
        "{}",
        to("office@school.example")
    );

    // Whatever becomes final later, in this term nobody hears of it again; neither from another server.
    school.owner.execute("UPDATE class_sessions SET updated_at = now()", &[]).await.unwrap();
    note().await;
    enable(&school).await;
    let another = super::mail::sender(&school, &server);
    another.note(Timestamp::now()).await.unwrap();
    another.send_due(&CancellationToken::new()).await.unwrap();
    assert_eq!((states(&school).await.len(), server.mails().len()), (2, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_is_tried_again_and_what_may_have_come_is_not() {
    use MailState::{Failed, Sent, Unsure, Waiting};
    let (school, server, sender) = warned(true).await;
    enable(&school).await;
    let sql = "UPDATE warning_policies SET to_students = false";
    school.owner.execute(sql, &[]).await.unwrap();
    sender.note(Timestamp::now()).await.unwrap();
    for deferred in [Does::DefersSender, Does::DropsBefore, Does::DefersMail] {
        server.next(&[deferred]);
        assert_eq!(send(&school, &sender).await, [Waiting], "{deferred:?}");
    }
    assert!(mails(&school).await[0].problem.contains("full"), "{:?}", mails(&school).await);
    server.next(&[Does::RefusesRecipient]);
    assert_eq!(send(&school, &sender).await, [Failed]);
    assert_eq!(server.mails().len(), 0);
    let id = mails(&school).await[0].id;
    server.next(&[Does::DropsAfter]);
    school.app.warning_mails.resend(MAIN, id, school.admin).await.unwrap();
    assert_eq!(send(&school, &sender).await, [Unsure]);
    // It came, though nobody knows here: it is not sent again, by this server or another one.
    assert_eq!(send(&school, &super::mail::sender(&school, &server)).await, [Unsure]);
    assert_eq!(server.mails().len(), 1);
    school.app.warning_mails.resend(MAIN, id, school.admin).await.unwrap();
    assert_eq!(send(&school, &sender).await, [Sent]);
    assert!(school.app.warning_mails.resend(MAIN, id, school.admin).await.is_err(), "it was sent");
    // A server that stopped while it sent: when its time is over, nobody knows either.
    let sql = "UPDATE warning_mails SET state = 'sending', due_at = now() - interval '1 second'";
    school.owner.execute(sql, &[]).await.unwrap();
    assert_eq!((send(&school, &sender).await, server.mails().len()), (vec![Unsure], 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_writes_to_who_was_erased() {
    let (school, server, sender) = warned(true).await;
    enable(&school).await;
    sender.note(Timestamp::now()).await.unwrap();
    school.app.students.erase(MAIN, school.students[1], school.admin).await.unwrap();
    assert_eq!(send(&school, &sender).await, [MailState::Dropped; 2]);
    assert!(server.mails().is_empty());
    assert!(
        mails(&school)
            .await
            .iter()
            .all(|mail| mail.recipient.starts_with("erased-") && mail.student.name.is_empty())
    );
}
