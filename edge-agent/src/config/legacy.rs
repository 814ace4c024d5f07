//! The original system's `config.json`, in today's words.
//!
//! Its keys are translated into the text of a TOML file, which is then read like any other; so
//! defaults, checks, flags and variables are the same. What has no counterpart is named in a warning
//! and left out.

use std::path::Path;

use serde_json::Value;
use toml::{Table, Value as Toml};

use super::ConfigError;

/// A file is the original's if it is named or looks like JSON: no TOML file begins with a brace.
pub(super) fn is_legacy(path: &Path, text: &str) -> bool {
    path.extension().is_some_and(|extension| extension == "json") || text.trim_start().starts_with('{')
}

/// The TOML text that says the same, and what the operator should know about it.
pub(super) fn translate(path: &Path, text: &str) -> Result<(String, Vec<String>), ConfigError> {
    let failed = |problem: String| ConfigError::Parse { origin: path.display().to_string(), problem };
    let value: Value = serde_json::from_str(text).map_err(|error| failed(error.to_string()))?;
    let Value::Object(keys) = value else { return Err(failed("is no JSON object".to_owned())) };
    let mut translation = Translation::default();
    for (key, value) in &keys {
        match (key.as_str(), value) {
            (group @ ("storage" | "network" | "logging"), Value::Object(inner)) => {
                for (key, value) in inner {
                    translation.take(&format!("{group}.{key}"), value);
                }
            }
            _ => translation.take(key, value),
        }
    }
    translation.add_defaults();
    let text = toml::to_string(&translation.table).map_err(|error| failed(error.to_string()))?;
    let mut warnings = vec![
        "a configuration of the original system; it was translated, but a TOML file says more".to_owned(),
    ];
    warnings.extend(translation.warnings);
    Ok((text, warnings))
}

#[derive(Default)]
struct Translation {
    table: Table,
    warnings: Vec<String>,
}

impl Translation {
    fn take(&mut self, key: &str, value: &Value) {
        if let Err(problem) = self.translate(key, value) {
            self.warnings.push(format!("{key}: {problem}"));
        }
    }

    fn translate(&mut self, key: &str, value: &Value) -> Result<(), &'static str> {
        match key {
            "device_id" => self.text("device", "id", value),
            "classroom_id" => self.text("device", "classroom", value),
            "capture_interval" => {
                let interval = number(value)?;
                if interval <= 0.0 {
                    return Err("must be a number of seconds above 0; ignored");
                }
                self.set("source", "rate", Toml::Float((1.0 / interval).clamp(0.001, 1000.0)))
            }
            "image_quality" => {
                let quality = number(value)?.round().clamp(1.0, 100.0);
                self.set("evidence", "quality", Toml::Integer(quality as i64))
            }
            "motion_detection" => {
                let enabled = value.as_bool().ok_or("must be true or false; ignored")?;
                self.set("motion", "enabled", Toml::Boolean(enabled))
            }
            "motion_threshold" => {
                let threshold = number(value)?;
                // Values above 1 can only have been meant as percentages.
                let share = if threshold > 1.0 { threshold / 100.0 } else { threshold };
                self.set("motion", "threshold", Toml::Float(share.clamp(0.0, 1.0)))
            }
            "max_retries" | "network.max_retries" => Err("ignored: the agent tries until it succeeds"),
            "storage.path" | "storage.data_dir" | "storage.local_path" => {
                let folder = value.as_str().ok_or("must be text; ignored")?;
                let spool = Path::new(folder).join("spool.db").to_string_lossy().into_owned();
                self.set("spool", "path", Toml::String(spool))
            }
            "storage.max_size_mb" => {
                let bytes = number(value)?.clamp(1.0, 1e9) * f64::from(1 << 20);
                self.set("spool", "max_bytes", Toml::Integer(bytes as i64))
            }
            "storage.max_backup_files" => {
                let files = number(value)?.round().clamp(1.0, 1e6);
                self.set("backup", "max_files", Toml::Integer(files as i64))
            }
            "storage.backup_retention_days" => {
                self.set("backup", "retention_days", Toml::Float(number(value)?.clamp(0.01, 3650.0)))
            }
            "storage.backup_enabled" | "storage.local_backup" => {
                let enabled = value.as_bool().ok_or("must be true or false; ignored")?;
                self.set("backup", "enabled", Toml::Boolean(enabled))
            }
            "network.server_url" | "network.server_address" => {
                let url = value.as_str().ok_or("must be text; ignored")?;
                let url = url.replacen("http://", "https://", 1).trim_end_matches('/').to_owned();
                self.set("server", "address", Toml::String(url))
            }
            "network.ca_cert" => self.text("server", "ca", value),
            "network.client_cert" => self.text("server", "certificate", value),
            "network.client_key" => self.text("server", "key", value),
            "logging.level" => {
                let level = value.as_str().ok_or("must be text; ignored")?.to_ascii_lowercase();
                let level = if level == "warning" { "warn".to_owned() } else { level };
                self.set("logging", "filter", Toml::String(level))
            }
            "logging.format" => self.text("logging", "format", value),
            key if key.starts_with("logging.") => {
                Err("ignored: lines go to standard error, and the journal keeps them")
            }
            _ => Err("ignored: it has no counterpart"),
        }
    }

    fn text(&mut self, section: &str, key: &str, value: &Value) -> Result<(), &'static str> {
        let text = value.as_str().ok_or("must be text; ignored")?;
        self.set(section, key, Toml::String(text.to_owned()))
    }

    fn set(&mut self, section: &str, key: &str, value: Toml) -> Result<(), &'static str> {
        let section = self.table.entry(section).or_insert_with(|| Toml::Table(Table::new()));
        if let Toml::Table(section) = section {
            section.insert(key.to_owned(), value);
        }
        Ok(())
    }

    /// What the original did not have, where an operator would look for it first.
    fn add_defaults(&mut self) {
        for (section, key, value) in [
            ("server", "ca", "ca.pem"),
            ("server", "certificate", "device.pem"),
            ("server", "key", "device.key"),
            ("source", "kind", "rpicam"),
            ("spool", "path", "state/spool.db"),
        ] {
            let missing = self.table.get(section).is_none_or(|table| table.get(key).is_none());
            if missing && self.set(section, key, Toml::String(value.to_owned())).is_ok() {
                self.warnings.push(format!("{section}.{key} is taken to be {value:?}"));
            }
        }
    }
}

fn number(value: &Value) -> Result<f64, &'static str> {
    value.as_f64().filter(|number| number.is_finite()).ok_or("must be a number; ignored")
}
