//! The agent's settings that a server may push: the part of its configuration that can neither cut
//! it off from the server nor have it run, read or keep anything that its operator did not choose.

/// A setting that may be pushed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Setting {
    /// `SECTION.KEY` of the agent's configuration.
    pub key: &'static str,
    /// What it may be.
    pub kind: SettingKind,
}

/// What a setting may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SettingKind {
    /// `true` or `false`.
    Switch,
    /// A whole number within bounds.
    Whole {
        /// The least.
        least: u64,
        /// The most.
        most: u64,
    },
    /// A number within bounds.
    Number {
        /// The least.
        least: f64,
        /// The most.
        most: f64,
    },
    /// Directives such as `info,cavs_edge_agent=debug`; only the agent can check them.
    LogFilter,
}

/// Longest log filter, in bytes.
const MAX_FILTER: usize = 500;

const fn switch(key: &'static str) -> Setting {
    Setting { key, kind: SettingKind::Switch }
}

const fn whole(key: &'static str, least: u64, most: u64) -> Setting {
    Setting { key, kind: SettingKind::Whole { least, most } }
}

const fn number(key: &'static str, least: f64, most: f64) -> Setting {
    Setting { key, kind: SettingKind::Number { least, most } }
}

/// Every setting that may be pushed, by key. A test of the agent holds the bounds against its own.
pub const SETTINGS: &[Setting] = &[
    switch("evidence.enabled"),
    whole("evidence.max_side", 32, 2048),
    whole("evidence.quality", 1, 100),
    Setting { key: "logging.filter", kind: SettingKind::LogFilter },
    switch("motion.enabled"),
    number("motion.heartbeat", 1.0, 3600.0),
    number("motion.hold", 0.0, 3600.0),
    number("motion.threshold", 0.0, 1.0),
    number("source.rate", 0.001, 1000.0),
    number("spool.max_age_days", 0.01, 36_500.0),
    whole("spool.max_bytes", 1 << 20, 1 << 50),
    whole("tracking.best_shots", 1, 20),
    switch("tracking.enabled"),
    number("tracking.forget_after", 0.5, 3600.0),
    number("tracking.resend_interval", 1.0, 86_400.0),
    number("tracking.same_person", 0.0, 1.0),
    number("tracking.settle", 0.0, 60.0),
    whole("vision.detect_long_side", 64, 4096),
    number("vision.min_score", 0.0, 1.0),
    whole("vision.threads", 1, 64),
];

/// The setting of a key.
///
/// # Errors
/// There is none of that name, in words.
pub fn setting(key: &str) -> Result<&'static Setting, String> {
    let found = SETTINGS.iter().find(|setting| setting.key == key);
    found.ok_or_else(|| {
        let keys: Vec<_> = SETTINGS.iter().map(|setting| setting.key).collect();
        format!("can't be pushed; what can be: {}", keys.join(", "))
    })
}

impl Setting {
    /// A value as it is stored and pushed.
    ///
    /// # Errors
    /// It is not what the setting may be, in words.
    pub fn normalise(&self, value: &str) -> Result<String, String> {
        let value = value.trim();
        match self.kind {
            SettingKind::Switch => match value {
                "true" | "false" => Ok(value.to_owned()),
                _ => Err("must be true or false".to_owned()),
            },
            SettingKind::Whole { least, most } => match value.parse::<u64>() {
                Ok(whole) if (least..=most).contains(&whole) => Ok(whole.to_string()),
                _ => Err(format!("must be a whole number, {least} to {most}")),
            },
            SettingKind::Number { least, most } => match value.parse::<f64>() {
                Ok(number) if (least..=most).contains(&number) => Ok(number.to_string()),
                _ => Err(format!("must be a number, {least} to {most}")),
            },
            SettingKind::LogFilter => {
                if value.is_empty() || value.len() > MAX_FILTER || value.chars().any(char::is_control) {
                    return Err(format!("must be 1 to {MAX_FILTER} bytes without control characters"));
                }
                Ok(value.to_owned())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_are_in_order_and_nothing_dangerous_is_among_them() {
        assert!(SETTINGS.is_sorted_by_key(|setting| setting.key));
        for kept in ["server.address", "source.command", "source.kind", "vision.pack", "spool.path", "x"] {
            assert!(setting(kept).unwrap_err().contains("motion.threshold"), "{kept}");
        }
    }

    #[test]
    fn values_have_one_form_and_bounds() {
        let normalise = |key: &str, value: &str| setting(key).unwrap().normalise(value);
        assert_eq!(normalise("motion.threshold", " .50 ").unwrap(), "0.5");
        assert_eq!(normalise("source.rate", "5e0").unwrap(), "5");
        assert_eq!(normalise("vision.threads", "+2").unwrap(), "2");
        assert_eq!(normalise("motion.enabled", "true").unwrap(), "true");
        for (key, value) in [
            ("motion.threshold", "1.01"),
            ("motion.threshold", "NaN"),
            ("vision.threads", "2.5"),
            ("evidence.enabled", "yes"),
            ("logging.filter", "a\nb"),
        ] {
            assert!(normalise(key, value).is_err(), "{key}={value}");
        }
    }

    proptest! {
        #[test]
        fn what_was_normalised_stays_so(index in 0..SETTINGS.len(), value in "\\PC{0,12}|[0-9.e+-]{1,6}") {
            if let Ok(once) = SETTINGS[index].normalise(&value) {
                prop_assert_eq!(SETTINGS[index].normalise(&once), Ok(once));
            }
        }
    }
}
