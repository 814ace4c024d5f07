//! `cavs webhooks`

use cavs_proto::{enum_to_wire, v1};
use cavs_types::{DeliveryState, WebhookEvent};
use clap::builder::PossibleValue;

use crate::{
    args::words,
    client::Api,
    completion,
    config::Config,
    error::CliError,
    lookup,
    paging::{self, Extent, Page, PageQuery},
    printer::Printer,
    view::{DeliveryList, RedeliveredView, WebhookList, WebhookSecretView, WebhookTestView, WebhookView},
};

/// What `cavs webhooks --help` says of webhooks.
pub(crate) const ABOUT_WEBHOOKS: &str = "A webhook is a program of yours that is told of what happens, by a POST of JSON \
in the form of Standard Webhooks: signed with its secret, sent again until it is taken, at least once and under one id, in \
no promised order. It is told ids and numbers of students; names where --names says so; nothing of a face. See \
docs/WEBHOOKS.md.";

fn event(event: WebhookEvent) -> PossibleValue {
    let help = match event {
        WebhookEvent::SightingRecorded => "A device has sent a sighting, and the machine has decided",
        WebhookEvent::ReviewRecorded => "A person has said something of a sighting, or taken it back",
        WebhookEvent::DeviceStatusChanged => {
            "A device was set active, inactive, in maintenance, or was revoked"
        }
        WebhookEvent::DeviceConnectionChanged => "A device has fallen silent, or is heard again",
        WebhookEvent::ClassSessionFinalised => "The attendance of a class session is final",
        WebhookEvent::MarkFinalised => "The same, for each mark of the session",
        WebhookEvent::MarkChanged => "A person has changed a mark that was final",
    };
    PossibleValue::new(event.as_str()).help(help)
}

fn state(state: DeliveryState) -> PossibleValue {
    let help = match state {
        DeliveryState::Pending => "To be sent, for the first time or again",
        DeliveryState::Delivered => "Taken by the receiver",
        DeliveryState::Failed => "Refused for days, while others were taken",
        DeliveryState::Obsolete => "What it is of was deleted before it was told",
    };
    PossibleValue::new(state.as_str()).help(help)
}

/// What `cavs webhooks` does.
#[derive(Debug, clap::Subcommand)]
pub enum WebhooksCommand {
    /// Add a webhook, and print its secret, which is shown this once
    Add {
        /// Where it is told, as `https://example.com/hook`
        #[arg(value_name = "URL")]
        url: String,
        /// What it is told of, once for each; without it, of all that there is now
        #[arg(long = "event", value_name = "EVENT", value_parser = words(WebhookEvent::ALL, event))]
        events: Vec<WebhookEvent>,
        /// What it is for
        #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
        description: String,
        /// Tell it names of people, too
        #[arg(long)]
        names: bool,
    },
    /// List webhooks, the oldest first
    #[command(visible_alias = "ls")]
    List {
        /// How many.
        #[command(flatten)]
        extent: Extent,
    },
    /// Show a webhook, and how it goes
    Show {
        /// Id or address
        #[arg(value_name = "WEBHOOK", add = completion::webhooks())]
        webhook: String,
    },
    /// Change a webhook, switch it off, or on again after the server has switched it off
    Update {
        /// Id or address
        #[arg(value_name = "WEBHOOK", add = completion::webhooks())]
        webhook: String,
        /// Where it is told from now on
        #[arg(long, value_name = "URL")]
        url: Option<String>,
        /// What it is told of from now on, once for each
        #[arg(long = "event", value_name = "EVENT", value_parser = words(WebhookEvent::ALL, event))]
        events: Vec<WebhookEvent>,
        /// What it is for
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
        /// Whether it is told names of people, too
        #[arg(long, value_name = "BOOL")]
        names: Option<bool>,
        /// Whether it is told anything
        #[arg(long, value_name = "BOOL")]
        active: Option<bool>,
        /// Change it in this state alone
        #[arg(long, value_name = "ETAG", default_value = "", hide_default_value = true)]
        etag: String,
    },
    /// Delete a webhook, with all that it was not told
    Rm {
        /// Id or address
        #[arg(value_name = "WEBHOOK", add = completion::webhooks())]
        webhook: String,
        /// Says that it is meant: nobody can undo it
        #[arg(long)]
        yes: bool,
    },
    /// Give a webhook a new secret, and print it; the one before signs beside it for a while
    Rotate {
        /// Id or address
        #[arg(value_name = "WEBHOOK", add = completion::webhooks())]
        webhook: String,
        /// For how many hours the one before signs, too; 0 for not at all
        #[arg(long, value_name = "HOURS", default_value_t = 24, value_parser = clap::value_parser!(u32).range(..=168))]
        overlap: u32,
    },
    /// Send `webhook.test` now, and say what came of it
    Test {
        /// Id or address
        #[arg(value_name = "WEBHOOK", add = completion::webhooks())]
        webhook: String,
    },
    /// List what a webhook was told and is to be told, the newest first
    Deliveries {
        /// Id or address
        #[arg(value_name = "WEBHOOK", add = completion::webhooks())]
        webhook: String,
        /// Those in a state
        #[arg(long, value_parser = words(DeliveryState::ALL, state))]
        state: Option<DeliveryState>,
        /// How many.
        #[command(flatten)]
        extent: Extent,
    },
    /// Send deliveries again, under the same ids
    Redeliver {
        /// Id or address
        #[arg(value_name = "WEBHOOK", add = completion::webhooks())]
        webhook: String,
        /// Which
        #[arg(value_name = "DELIVERY", required_unless_present = "failed")]
        deliveries: Vec<String>,
        /// All that have failed
        #[arg(long, conflicts_with = "deliveries")]
        failed: bool,
    },
}

pub(crate) async fn run(
    command: WebhooksCommand,
    config: &Config,
    printer: &Printer,
) -> Result<(), CliError> {
    let api = Api::connect(config).await?;
    match command {
        WebhooksCommand::Add { url, events, description, names: include_names } => {
            let events = events.into_iter().map(enum_to_wire).collect();
            let request = v1::CreateWebhookRequest { url, description, events, include_names };
            let v1::CreateWebhookResponse { webhook, secret } =
                api.call(api.webhooks().create_webhook(request)).await?;
            show_secret(webhook, secret, printer)
        }
        WebhooksCommand::List { extent } => list(&api, extent, printer).await,
        WebhooksCommand::Show { webhook } => {
            printer.report(&WebhookView::from(lookup::webhook(&api, &webhook).await?))
        }
        WebhooksCommand::Update { webhook, url, events, description, names, active, etag } => {
            let update_mask = Some(super::mask([
                ("url", url.is_some()),
                ("events", !events.is_empty()),
                ("description", description.is_some()),
                ("include_names", names.is_some()),
                ("active", active.is_some()),
            ])?);
            let webhook = Some(v1::Webhook {
                id: lookup::webhook(&api, &webhook).await?.id,
                url: url.unwrap_or_default(),
                events: events.into_iter().map(enum_to_wire).collect(),
                description: description.unwrap_or_default(),
                include_names: names.unwrap_or_default(),
                active: active.unwrap_or_default(),
                etag,
                ..v1::Webhook::default()
            });
            let request = v1::UpdateWebhookRequest { webhook, update_mask };
            printer.report(&WebhookView::from(api.one(api.webhooks().update_webhook(request)).await?))
        }
        WebhooksCommand::Rm { webhook, yes } => {
            let v1::Webhook { id: webhook_id, url, .. } = lookup::webhook(&api, &webhook).await?;
            if !yes {
                printer.confirm(&format!("Delete the webhook to {url} with all that it was not told?"))?;
            }
            api.call(api.webhooks().delete_webhook(v1::DeleteWebhookRequest { webhook_id })).await?;
            printer.note(&format!("deleted the webhook to {url}"));
            Ok(())
        }
        WebhooksCommand::Rotate { webhook, overlap } => {
            let webhook_id = lookup::webhook(&api, &webhook).await?.id;
            let request = v1::RotateWebhookSecretRequest { webhook_id, overlap_hours: Some(overlap) };
            let v1::RotateWebhookSecretResponse { webhook, secret } =
                api.call(api.webhooks().rotate_webhook_secret(request)).await?;
            show_secret(webhook, secret, printer)
        }
        WebhooksCommand::Test { webhook } => {
            let webhook_id = lookup::webhook(&api, &webhook).await?.id;
            let result = api.call(api.webhooks().test_webhook(v1::TestWebhookRequest { webhook_id })).await?;
            let failed = (!result.delivered).then(|| result.error.clone());
            printer.report(&WebhookTestView::from(result))?;
            failed.map_or(Ok(()), |error| Err(CliError::failure("NOT_DELIVERED", error)))
        }
        WebhooksCommand::Deliveries { webhook, state, extent } => {
            let webhook_id = lookup::webhook(&api, &webhook).await?.id;
            deliveries(&api, &webhook_id, state, extent, printer).await
        }
        WebhooksCommand::Redeliver { webhook, deliveries: delivery_ids, failed: _ } => {
            let webhook_id = lookup::webhook(&api, &webhook).await?.id;
            let request = v1::RedeliverWebhookRequest { webhook_id, delivery_ids };
            let redelivered = api.call(api.webhooks().redeliver_webhook(request)).await?.redelivered;
            printer.report(&RedeliveredView { redelivered })
        }
    }
}

fn show_secret(webhook: Option<v1::Webhook>, secret: String, printer: &Printer) -> Result<(), CliError> {
    printer.report(&WebhookSecretView { webhook: webhook.unwrap_or_default().into(), secret })?;
    printer.note("the secret is shown this once: give it to the receiver, which checks signatures with it");
    Ok(())
}

async fn list(api: &Api, extent: Extent, printer: &Printer) -> Result<(), CliError> {
    paging::list::<WebhookList, _>(extent, printer, async |query| {
        let PageQuery { size: page_size, token: page_token, with_total: with_total_size } = query;
        let request = v1::ListWebhooksRequest { page_size, page_token, with_total_size };
        let page = api.call(api.webhooks().list_webhooks(request)).await?;
        Ok(Page {
            items: page.webhooks,
            next: page.next_page_token,
            total: page.total_size,
            total_exact: page.total_size_exact,
        })
    })
    .await
}

async fn deliveries(
    api: &Api,
    webhook_id: &str,
    state: Option<DeliveryState>,
    extent: Extent,
    printer: &Printer,
) -> Result<(), CliError> {
    paging::list::<DeliveryList, _>(extent, printer, async |query| {
        let PageQuery { size: page_size, token: page_token, with_total: with_total_size } = query;
        let request = v1::ListWebhookDeliveriesRequest {
            webhook_id: webhook_id.to_owned(),
            state: state.map(enum_to_wire).unwrap_or_default(),
            page_size,
            page_token,
            with_total_size,
        };
        let page = api.call(api.webhooks().list_webhook_deliveries(request)).await?;
        Ok(Page {
            items: page.deliveries,
            next: page.next_page_token,
            total: page.total_size,
            total_exact: page.total_size_exact,
        })
    })
    .await
}
