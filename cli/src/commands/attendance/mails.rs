//! `cavs attendance mails`

use cavs_proto::{enum_to_wire, v1};
use cavs_reports::Rate;
use cavs_types::MailState;
use clap::builder::PossibleValue;

use super::report::percent;
use crate::{
    args::words,
    client::Api,
    error::CliError,
    paging::{self, Extent, Page, PageQuery},
    printer::Printer,
    view::{WarningMailList, WarningMailView, WarningPolicyView},
};

/// What `cavs attendance mails` does.
#[derive(Debug, clap::Subcommand)]
pub enum MailsCommand {
    /// Who is written to of seldom attendance, and from when on
    #[command(subcommand)]
    Policy(MailPolicyCommand),
    /// List mails, the newest first
    #[command(visible_alias = "ls")]
    List {
        /// Only this state
        #[arg(long, value_parser = words(MailState::ALL, state))]
        state: Option<MailState>,
        /// How many.
        #[command(flatten)]
        extent: Extent,
    },
    /// Send a mail again that has failed, or of which nobody knows whether it came
    Resend {
        /// Its id
        #[arg(value_name = "MAIL")]
        mail: String,
    },
}

/// What `cavs attendance mails policy` does.
#[derive(Debug, clap::Subcommand)]
pub enum MailPolicyCommand {
    /// Show the policy
    Show,
    /// Change the policy; what isn't said stays
    Set(Box<SetArgs>),
}

/// Options of `cavs attendance mails policy set`.
#[derive(Debug, clap::Args)]
pub struct SetArgs {
    /// Whether mails are sent
    #[arg(long, value_name = "BOOL")]
    enabled: Option<bool>,
    /// Below which share of the sessions that count, in percent
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    below: Option<Rate>,
    /// Of fewer sessions that count nothing is said
    #[arg(long, value_name = "N")]
    least_sessions: Option<u32>,
    /// Whether the students themselves are written to
    #[arg(long, value_name = "BOOL")]
    to_students: Option<bool>,
    /// Write to this address of the students of a section, as 7B=office@school.example; may be said several times
    #[arg(long = "contact", value_name = "SECTION=EMAIL", value_parser = contact)]
    contacts: Vec<(String, String)>,
    /// Write to this one no more
    #[arg(long = "no-contact", value_name = "SECTION=EMAIL", value_parser = contact)]
    no_contacts: Vec<(String, String)>,
}

fn state(state: MailState) -> PossibleValue {
    let help = match state {
        MailState::Waiting => "It is sent when it is due",
        MailState::Sending => "It is being sent",
        MailState::Sent => "The mail server has taken it",
        MailState::Failed => "The mail server does not take it, or was away for days",
        MailState::Unsure => "Nobody knows whether it came",
        MailState::Dropped => "The student was erased before",
    };
    PossibleValue::new(state.as_str()).help(help)
}

fn contact(text: &str) -> Result<(String, String), String> {
    let (section, email) =
        text.rsplit_once('=').ok_or("expected a section and an address, as 7B=office@school.example")?;
    Ok((section.trim().to_owned(), email.trim().to_owned()))
}

pub(super) async fn run(api: &Api, command: MailsCommand, printer: &Printer) -> Result<(), CliError> {
    match command {
        MailsCommand::Policy(MailPolicyCommand::Show) => {
            let policy = api.one(api.warnings().get_warning_policy(v1::GetWarningPolicyRequest {})).await?;
            printer.report(&WarningPolicyView::from(policy))
        }
        MailsCommand::Policy(MailPolicyCommand::Set(args)) => set(api, *args, printer).await,
        MailsCommand::List { state, extent } => {
            let state = state.map(enum_to_wire).unwrap_or_default();
            paging::list::<WarningMailList, _>(extent, printer, async |query| {
                let PageQuery { size: page_size, token: page_token, with_total: with_total_size } = query;
                let request = v1::ListWarningMailsRequest { page_size, page_token, with_total_size, state };
                let page = api.call(api.warnings().list_warning_mails(request)).await?;
                Ok(Page {
                    items: page.mails,
                    next: page.next_page_token,
                    total: page.total_size,
                    total_exact: page.total_size_exact,
                })
            })
            .await
        }
        MailsCommand::Resend { mail } => {
            let request = v1::ResendWarningMailRequest { mail_id: mail };
            printer
                .report(&WarningMailView::from(api.one(api.warnings().resend_warning_mail(request)).await?))
        }
    }
}

async fn set(api: &Api, args: SetArgs, printer: &Printer) -> Result<(), CliError> {
    let SetArgs { enabled, below, least_sessions, to_students, contacts, no_contacts } = args;
    let is_nothing =
        enabled.is_none() && below.is_none() && least_sessions.is_none() && to_students.is_none();
    if is_nothing && contacts.is_empty() && no_contacts.is_empty() {
        return Err(CliError::usage("say what is to be changed"));
    }
    let mut policy = api.one(api.warnings().get_warning_policy(v1::GetWarningPolicyRequest {})).await?;
    policy.enabled = enabled.unwrap_or(policy.enabled);
    policy.below_permille = below.map_or(policy.below_permille, |below| below.permille().into());
    policy.least_sessions = least_sessions.unwrap_or(policy.least_sessions);
    policy.to_students = to_students.unwrap_or(policy.to_students);
    for (section, email) in &no_contacts {
        let before = policy.contacts.len();
        policy.contacts.retain(|contact| contact.section != *section || contact.email != *email);
        if policy.contacts.len() == before {
            return Err(CliError::usage(format!("--no-contact {section}={email}: there is no such contact")));
        }
    }
    policy
        .contacts
        .extend(contacts.into_iter().map(|(section, email)| v1::WarningContact { section, email }));
    let request = v1::UpdateWarningPolicyRequest { policy: Some(policy) };
    let view = WarningPolicyView::from(api.one(api.warnings().update_warning_policy(request)).await?);
    printer.report(&view)?;
    if view.enabled && !view.can_send {
        printer.note("the server has no [mail] section: nothing is sent until it has one");
    }
    Ok(())
}
