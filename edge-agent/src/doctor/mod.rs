//! `cavs-edge-agent doctor`: everything that the agent needs, tried out, and what to do about it.

mod certificate;
mod checks;

use std::{fmt, path::Path};

use serde::Serialize;

use crate::{
    config::{Config, Override},
    settings::SettingsFile,
    vision::PackVision,
};

/// The findings of all checks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnosis {
    /// Nothing has failed.
    pub healthy: bool,
    /// In the order in which things are needed.
    pub findings: Vec<Finding>,
}

/// One thing that was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which part of the agent's surroundings it is about.
    pub check: Check,
    /// Whether somebody has to act.
    pub level: Level,
    /// What the check saw, with names and numbers.
    pub message: String,
    /// What to do about it; `None` where nothing has to be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

/// What the doctor tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Check {
    /// The configuration, with what the server pushed.
    Config,
    /// The state directory: rights and space.
    Disk,
    /// The model pack: its digest and whether its networks load.
    Pack,
    /// The source, and what the networks see in a picture of it.
    Source,
    /// The device's certificate and key.
    Certificate,
    /// A stream to the server, up to its welcome.
    Server,
    /// The device's clock, against the server's.
    Clock,
}

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// The agent works, but not for ever or not as well as it could.
    Warning,
    /// The agent does not work.
    Failed,
}

impl Finding {
    fn ok(check: Check, message: impl Into<String>) -> Self {
        Self { check, level: Level::Ok, message: message.into(), advice: None }
    }

    fn warning(check: Check, message: impl Into<String>, advice: &str) -> Self {
        let (message, advice) = (message.into(), Some(advice.to_owned()));
        Self { check, level: Level::Warning, message, advice }
    }

    fn failed(check: Check, message: impl Into<String>, advice: &str) -> Self {
        Self { level: Level::Failed, ..Self::warning(check, message, advice) }
    }
}

/// Tries out what the configuration at `path` asks for. An agent that is running is not disturbed.
pub async fn examine(path: &Path, overrides: &[Override]) -> Diagnosis {
    let config = match Config::load(path, overrides) {
        Ok(config) => config,
        Err(error) => {
            let advice = "correct the file; the agent's manual lists every key";
            return vec![Finding::failed(Check::Config, error.to_string(), advice)].into();
        }
    };
    let state = SettingsFile::beside(&config.spool.path).state;
    let mut findings = vec![checks::settings(path, &config, &state)];
    // What the agent would run with.
    let config = config.with_pushed(&state.current().settings).unwrap_or(config);
    let disk = checks::disk(&config.spool);
    findings.extend(disk.findings);
    let (loading, evidence) = (config.vision.clone(), config.evidence);
    let vision = tokio::task::spawn_blocking(move || PackVision::load(&loading, evidence)).await;
    let mut vision = match vision {
        Ok(Ok(vision)) => {
            findings.push(checks::pack(&config, &vision));
            Some(vision)
        }
        Ok(Err(error)) => {
            let advice = "import a pack with `cavs models import`, and name its folder in vision.pack";
            findings.push(Finding::failed(Check::Pack, error.to_string(), advice));
            None
        }
        Err(error) => {
            findings.push(Finding::failed(Check::Pack, error.to_string(), "report this: it is a bug"));
            None
        }
    };
    findings.push(checks::source(&config.source, vision.as_mut(), disk.agent_is_running).await);
    findings.extend(certificate::check(&config.server));
    let (finding, server_time) = checks::server(&config, vision.as_ref(), &state).await;
    findings.push(finding);
    findings.push(checks::clock(server_time));
    findings.into()
}

/// Looks at what the configuration names, without a connection or a camera: certificates, key, disk, and
/// whether the server's name is known.
pub async fn check_files(config: &Config) -> Diagnosis {
    let mut findings = certificate::check(&config.server);
    findings.push(checks::spool_location(&config.spool));
    findings.push(checks::address(&config.server).await);
    findings.into()
}

impl From<Vec<Finding>> for Diagnosis {
    fn from(findings: Vec<Finding>) -> Self {
        Self { healthy: findings.iter().all(|finding| finding.level != Level::Failed), findings }
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Finding { check, level, message, advice } in &self.findings {
            let level = match level {
                Level::Ok => "ok",
                Level::Warning => "warning",
                Level::Failed => "FAILED",
            };
            let check = format!("{check:?}").to_lowercase();
            writeln!(f, "{level:9}{check:13}{message}")?;
            if let Some(advice) = advice {
                writeln!(f, "{:22}-> {advice}", "")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diagnosis_says_what_to_do() {
        let diagnosis = Diagnosis::from(vec![
            Finding::ok(Check::Config, "agent.toml"),
            Finding::warning(Check::Clock, "off by 9 s", "install a time server's client"),
            Finding::failed(Check::Pack, "vision.pack: none", "import one"),
        ]);
        assert!(!diagnosis.healthy);
        insta::assert_snapshot!(diagnosis.to_string());
        let json = serde_json::to_value(&diagnosis).unwrap();
        assert_eq!(
            (&json["findings"][2]["level"], &json["findings"][2]["check"]),
            (&"failed".into(), &"pack".into())
        );
        assert!(json["findings"][0].get("advice").is_none());
    }

    #[tokio::test]
    async fn without_a_configuration_nothing_else_is_tried() {
        let diagnosis = examine(Path::new("/no/such/agent.toml"), &[]).await;
        assert_eq!(diagnosis.findings.len(), 1);
        assert_eq!((diagnosis.findings[0].check, diagnosis.healthy), (Check::Config, false));
    }
}
