//! The conversation with a mail server, step by step, so that it is known whether a mail may have been taken.

use std::time::Duration;

use lettre::{
    Address, Message,
    message::{Mailbox, header::ContentType},
    transport::smtp::{
        authentication::Mechanism,
        client::{AsyncSmtpConnection, Certificate, CertificateStore, TlsParameters},
        commands::{Mail, Rcpt},
        extension::ClientId,
    },
};
use secrecy::ExposeSecret;
use uuid::Uuid;

use crate::{
    config::{MailConfig, MailSecurity},
    mail::model::Letter,
};

/// How long a step may take.
const STEP: Duration = Duration::from_secs(30);

/// What became of a mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::mail) enum Posted {
    /// The mail server has taken it.
    Taken,
    /// It was not taken, and may be later.
    Later(String),
    /// It was not taken, and won't be.
    Refused(String),
    /// The connection broke after the mail was handed over: nobody knows.
    Unsure(String),
}

/// Speaks to one mail server.
#[derive(Clone)]
pub struct SmtpTransport {
    config: MailConfig,
    from: Mailbox,
}

impl SmtpTransport {
    /// # Errors
    /// The sender's address is none: the configuration was not checked.
    pub fn new(config: &MailConfig) -> Result<Self, lettre::address::AddressError> {
        Ok(Self { config: config.clone(), from: config.from.parse()? })
    }

    /// Sends a letter.
    pub(in crate::mail) async fn post(&self, id: Uuid, recipient: &str, letter: &Letter) -> Posted {
        let Ok(to) = recipient.parse::<Address>() else {
            return Posted::Refused("the recipient's address is none".to_owned());
        };
        if !recipient.is_ascii() {
            // It takes SMTPUTF8 on the whole way, which few mail servers have.
            return Posted::Refused(
                "the recipient's address has letters that mail servers do not take".to_owned(),
            );
        }
        let message = Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to.clone()))
            .subject(letter.subject())
            .date_now()
            // The same in each attempt: who gets it twice can tell.
            .message_id(Some(format!("<{id}@{}>", self.from.email.domain())))
            .header(ContentType::TEXT_PLAIN)
            .body(letter.body());
        let message = match message {
            Ok(message) => message.formatted(),
            Err(error) => return Posted::Refused(error.to_string()),
        };
        match tokio::time::timeout(STEP, self.open()).await {
            Err(_) => Posted::Later(format!("{} does not answer", self.config.host)),
            Ok(Err(problem)) => problem,
            Ok(Ok(mut connection)) => {
                let posted = self.converse(&mut connection, to, &message).await;
                // A word of farewell: what was said before counts.
                let _ = tokio::time::timeout(Duration::from_secs(2), connection.quit()).await;
                posted
            }
        }
    }

    async fn open(&self) -> Result<AsyncSmtpConnection, Posted> {
        let MailConfig { host, port, security, credentials, .. } = &self.config;
        let hello = ClientId::Domain(self.from.email.domain().to_owned());
        let later = |error: lettre::transport::smtp::Error| before(&error);
        let tls = match security {
            MailSecurity::None => None,
            MailSecurity::Tls | MailSecurity::Starttls => Some(self.tls()?),
        };
        let from_the_beginning = tls.clone().filter(|_| *security == MailSecurity::Tls);
        let address = (host.as_str(), *port);
        let mut connection =
            AsyncSmtpConnection::connect_tokio1(address, Some(STEP), &hello, from_the_beginning, None)
                .await
                .map_err(later)?;
        if let (MailSecurity::Starttls, Some(tls)) = (security, tls) {
            if !connection.can_starttls() {
                return Err(Posted::Later(format!(
                    "{host} offers no STARTTLS: nothing is sent in the clear"
                )));
            }
            connection.starttls(tls, &hello).await.map_err(later)?;
        }
        if let Some((user, password)) = credentials {
            let credentials = (user.clone(), password.expose_secret().to_owned()).into();
            connection.auth(&[Mechanism::Plain, Mechanism::Login], &credentials).await.map_err(|error| {
                // A wrong password is mended here, not given up with the mails.
                Posted::Later(format!("{host} does not let {user} in: {error}"))
            })?;
        }
        Ok(connection)
    }

    fn tls(&self) -> Result<TlsParameters, Posted> {
        let mut builder = TlsParameters::builder(self.config.host.clone());
        let unusable = |problem: String| Posted::Later(format!("mail.authority: {problem}"));
        if let Some(file) = &self.config.authority {
            let wrong = |problem: String| unusable(format!("{}: {problem}", file.display()));
            let pem = std::fs::read(file).map_err(|error| wrong(error.to_string()))?;
            let certificate = Certificate::from_pem(&pem).map_err(|error| wrong(error.to_string()))?;
            // Nobody else is trusted.
            builder = builder.certificate_store(CertificateStore::None).add_root_certificate(certificate);
        }
        builder.build_rustls().map_err(|error| unusable(error.to_string()))
    }

    async fn converse(&self, connection: &mut AsyncSmtpConnection, to: Address, message: &[u8]) -> Posted {
        let from = self.from.email.clone();
        let commands = async {
            connection.command(Mail::new(Some(from), vec![])).await?;
            connection.command(Rcpt::new(to, vec![])).await?;
            connection.command(lettre::transport::smtp::commands::Data).await
        };
        match tokio::time::timeout(STEP, commands).await {
            Err(_) => return Posted::Later(format!("{} does not answer", self.config.host)),
            Ok(Err(error)) => return before(&error),
            Ok(Ok(_)) => {}
        }
        match tokio::time::timeout(STEP, connection.message(message)).await {
            Ok(Ok(_)) => Posted::Taken,
            Ok(Err(error)) if error.is_transient() || error.is_permanent() => before(&error),
            Ok(Err(error)) => Posted::Unsure(error.to_string()),
            Err(_) => Posted::Unsure(format!("{} does not answer", self.config.host)),
        }
    }
}

/// What an error means before the mail was handed over, or where the mail server has said no to it.
fn before(error: &lettre::transport::smtp::Error) -> Posted {
    let said = error.to_string();
    if error.is_permanent() { Posted::Refused(said) } else { Posted::Later(said) }
}
