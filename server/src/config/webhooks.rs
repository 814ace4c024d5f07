use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::webhooks::ReceiverPolicy;

/// Programs that are told of what happens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WebhookConfig {
    /// Where they may be.
    pub policy: ReceiverPolicy,
    /// Whose certificates are believed, beside those that the machine believes.
    pub authority: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawWebhooks {
    allow_private_addresses: bool,
    allow_http: bool,
    authority: Option<PathBuf>,
}

impl RawWebhooks {
    pub(super) fn checked(self, base: &Path) -> WebhookConfig {
        WebhookConfig {
            policy: ReceiverPolicy {
                private_addresses: self.allow_private_addresses,
                plain_http: self.allow_http,
            },
            authority: self.authority.map(|file| base.join(file)),
        }
    }
}
