use std::collections::BTreeMap;

use cavs_proto::v1::{DeviceSettings, SettingsReport};
use serde::{Deserialize, Serialize};

/// Starts of the agent during one trial: one that was cut short by a power cut is no proof against
/// the settings, a second one is taken for one.
const MOST_STARTS: u32 = 2;

/// What the server pushed: settings by `SECTION.KEY`. Version 0 without settings is the device's own
/// configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushedSettings {
    /// The server's number of them.
    pub version: u64,
    /// Values by `SECTION.KEY`, all that are pushed.
    pub settings: BTreeMap<String, String>,
}

impl From<DeviceSettings> for PushedSettings {
    fn from(wire: DeviceSettings) -> Self {
        Self { version: wire.version, settings: wire.settings.into_iter().collect() }
    }
}

/// Which pushed settings are in use, on trial, and refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingsState {
    kept: PushedSettings,
    trial: Option<Trial>,
    rejected: Option<Rejected>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Trial {
    pushed: PushedSettings,
    starts: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Rejected {
    pushed: PushedSettings,
    reason: String,
}

impl SettingsState {
    /// The settings to run with.
    #[must_use]
    pub fn current(&self) -> &PushedSettings {
        self.trial.as_ref().map_or(&self.kept, |trial| &trial.pushed)
    }

    /// They have yet to prove themselves.
    #[must_use]
    pub fn on_trial(&self) -> bool {
        self.trial.is_some()
    }

    /// Takes what the server wants; true where it is something to be tried.
    pub fn offer(&mut self, pushed: PushedSettings) -> bool {
        let known = self.rejected.as_ref().is_some_and(|rejected| rejected.pushed == pushed);
        if known || *self.current() == pushed {
            return false;
        }
        // Where it is what was in use before the trial, nothing has to be proved.
        let proved = pushed == self.kept;
        self.trial = (!proved).then_some(Trial { pushed, starts: 1 });
        true
    }

    /// The settings on trial have proved themselves.
    pub fn keep(&mut self) {
        if let Some(trial) = self.trial.take() {
            self.kept = trial.pushed;
        }
    }

    /// The current settings do not work: back to those before them, at last to the device's own
    /// configuration. False where that is what failed.
    pub fn reject(&mut self, reason: String) -> bool {
        let pushed = match self.trial.take() {
            Some(trial) => trial.pushed,
            None if self.kept == PushedSettings::default() => return false,
            None => std::mem::take(&mut self.kept),
        };
        self.rejected = Some(Rejected { pushed, reason });
        true
    }

    /// The agent starts: settings on trial that have seen too many starts are given up.
    pub fn on_start(&mut self) {
        let Some(trial) = &mut self.trial else { return };
        trial.starts += 1;
        if trial.starts > MOST_STARTS {
            self.reject(format!("the agent ended {MOST_STARTS} times while it tried them"));
        }
    }

    /// The agent is stopped in order, which says nothing about the settings on trial.
    pub fn on_stop(&mut self) {
        if let Some(trial) = &mut self.trial {
            trial.starts = 0;
        }
    }

    /// What the server is told.
    #[must_use]
    pub fn report(&self) -> SettingsReport {
        let rejected = self.rejected.as_ref();
        SettingsReport {
            running_version: self.current().version,
            on_trial: self.on_trial(),
            rejected_version: rejected.map_or(0, |rejected| rejected.pushed.version),
            rejection: rejected.map(|rejected| rejected.reason.clone()).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pushed(version: u64) -> PushedSettings {
        let settings = (version > 0).then(|| ("source.rate".to_owned(), version.to_string()));
        PushedSettings { version, settings: settings.into_iter().collect() }
    }

    #[test]
    fn settings_that_work_are_kept_and_others_are_not_tried_again() {
        let mut state = SettingsState::default();
        assert!(state.offer(pushed(1)) && state.on_trial());
        assert!(!state.offer(pushed(1)), "the server says it again in every welcome");
        state.keep();
        assert!(state.offer(pushed(2)));
        assert!(state.reject("no frame".to_owned()));
        assert_eq!(*state.current(), pushed(1));
        assert!(!state.offer(pushed(2)));
        let report = state.report();
        assert_eq!((report.running_version, report.rejected_version, report.on_trial), (1, 2, false));
        assert_eq!(report.rejection, "no frame");
        assert!(state.offer(pushed(0)), "back to the device's own");
    }

    #[test]
    fn a_trial_survives_one_power_cut_and_any_orderly_stop() {
        let mut state = SettingsState::default();
        state.offer(pushed(1));
        for _ in 0..5 {
            state.on_stop();
            state.on_start();
        }
        state.on_start();
        assert_eq!(*state.current(), pushed(1));
        state.on_start();
        assert_eq!(*state.current(), pushed(0));
        assert!(state.report().rejection.contains("ended 2 times"));
    }

    #[test]
    fn what_was_kept_can_fail_later_and_the_own_configuration_is_the_last_resort() {
        let mut state = SettingsState::default();
        state.offer(pushed(1));
        state.keep();
        assert!(state.reject("the pack is gone".to_owned()));
        assert_eq!(*state.current(), pushed(0));
        assert!(!state.reject("the pack is still gone".to_owned()));
    }

    proptest! {
        /// Whatever happens, a refused version is never in use, and only kept ones are without trial.
        #[test]
        fn a_rejected_version_is_not_in_use(events in prop::collection::vec((0..5u8, 0..4u64), 0..60)) {
            let mut state = SettingsState::default();
            for (event, version) in events {
                match event {
                    0 => drop(state.offer(pushed(version))),
                    1 => state.keep(),
                    2 => drop(state.reject("x".to_owned())),
                    3 => state.on_start(),
                    _ => state.on_stop(),
                }
                if let Some(rejected) = &state.rejected {
                    prop_assert_ne!(&rejected.pushed, state.current());
                }
                let text = serde_json::to_string(&state).unwrap();
                prop_assert_eq!(&serde_json::from_str::<SettingsState>(&text).unwrap(), &state);
            }
        }
    }
}
