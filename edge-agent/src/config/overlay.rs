use std::{env, fmt, path::PathBuf};

use cavs_types::setting;
use toml::{Table, Value};

use super::{ConfigError, raw::Raw};

/// A variable `CAVS_AGENT_SERVER__ADDRESS` stands for the key `server.address`.
pub const ENV_PREFIX: &str = "CAVS_AGENT_";

/// One value that goes before the file's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// Where it was written, for errors.
    origin: String,
    section: String,
    key: String,
    text: String,
}

impl Override {
    /// Every override of the process's environment.
    #[must_use]
    pub fn from_environment() -> Vec<Self> {
        env::vars().filter_map(|(name, text)| Self::from_variable(&name, text)).collect()
    }

    fn from_variable(name: &str, text: String) -> Option<Self> {
        let (section, key) = name.strip_prefix(ENV_PREFIX)?.split_once("__")?;
        Some(Self {
            origin: name.to_owned(),
            section: section.to_ascii_lowercase(),
            key: key.to_ascii_lowercase(),
            text,
        })
    }

    /// The override in a flag's value, `SECTION.KEY=VALUE`.
    ///
    /// # Errors
    /// The text is not of that form.
    pub fn from_flag(flag: &str) -> Result<Self, String> {
        let parts = flag.split_once('=').and_then(|(name, text)| Some((name.split_once('.')?, text)));
        let ((section, key), text) = parts.ok_or("expected SECTION.KEY=VALUE")?;
        Ok(Self {
            origin: format!("--set {section}.{key}"),
            section: section.to_owned(),
            key: key.to_owned(),
            text: text.to_owned(),
        })
    }

    /// A setting of the server's.
    pub(super) fn pushed(name: &str, value: &str) -> Result<Self, ConfigError> {
        let origin = format!("pushed {name}");
        let normal = setting(name).and_then(|setting| setting.normalise(value));
        let text = normal.map_err(|problem| ConfigError::Parse { origin: origin.clone(), problem })?;
        let (section, key) = name.split_once('.').unwrap_or_default();
        Ok(Self { origin, section: section.to_owned(), key: key.to_owned(), text })
    }

    /// `5`, `true` and `"text"` are TOML; everything else is text without its quotes.
    fn value(&self) -> Value {
        let parsed: Option<Table> = toml::from_str(&format!("value = {}", self.text)).ok();
        // More than one key: the text had a line break in it, so it was no single value.
        let single = parsed.filter(|table| table.len() == 1).and_then(|mut table| table.remove("value"));
        single.unwrap_or_else(|| Value::String(self.text.clone()))
    }
}

/// What a configuration is made of.
#[derive(Clone, PartialEq)]
pub(super) struct Layers {
    /// Where the configuration file is: relative paths begin at its folder.
    pub(super) path: PathBuf,
    /// What it says, in TOML.
    pub(super) text: String,
    /// What goes before it, in increasing precedence.
    pub(super) overrides: Vec<Override>,
}

impl fmt::Debug for Layers {
    /// Without the values: a camera's password may be among them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Layers({})", self.path.display())
    }
}

/// Parses the file's text with the overrides laid over it.
pub(super) fn parse(layers: &Layers) -> Result<Raw, ConfigError> {
    let Layers { path, text, overrides } = layers;
    let failed = |origin: String, error: toml::de::Error| ConfigError::Parse {
        origin,
        problem: without_values(text, &error),
    };
    // The text alone first: only here do errors have a line.
    let mut raw: Raw = toml::from_str(text).map_err(|e| failed(path.display().to_string(), e))?;
    let mut table: Table = toml::from_str(text).map_err(|e| failed(path.display().to_string(), e))?;
    for item in overrides {
        let section = table.entry(&item.section).or_insert_with(|| Value::Table(Table::new()));
        if let Value::Table(section) = section {
            section.insert(item.key.clone(), item.value());
        }
        // One by one, so that an error can say which override it was.
        raw = table.clone().try_into().map_err(|e| failed(item.origin.clone(), e))?;
    }
    Ok(raw)
}

/// Where the text can't be understood and why, without the line itself and without values, as any of them may
/// be a camera's password.
fn without_values(text: &str, error: &toml::de::Error) -> String {
    const BEGIN: &str = "string \"";
    let message = error.message().trim_end();
    let problem = match (message.find(BEGIN), message.rfind("\", expected")) {
        (Some(begin), Some(end)) if begin < end => {
            format!("{}a string{}", &message[..begin], &message[end + 1..])
        }
        (Some(begin), _) => format!("{}a string", &message[..begin]),
        (None, _) => message.to_owned(),
    };
    let Some(before) = error.span().and_then(|span| text.get(..span.start)) else { return problem };
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!("line {line}, column {column}: {problem}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_toml_where_they_can_be() {
        let value = |text: &str| Override::from_flag(&format!("a.b={text}")).unwrap().value();
        assert_eq!(value("5"), Value::Integer(5));
        assert_eq!(value("true"), Value::Boolean(true));
        assert_eq!(value("/dev/video0"), Value::String("/dev/video0".to_owned()));
        assert_eq!(value("\"7\""), Value::String("7".to_owned()));
        assert_eq!(value("1\nx = 2"), Value::String("1\nx = 2".to_owned()));
    }

    #[test]
    fn variables_name_section_and_key() {
        let item = Override::from_variable("CAVS_AGENT_SPOOL__MAX_BYTES", "5".to_owned()).unwrap();
        assert_eq!((item.section.as_str(), item.key.as_str()), ("spool", "max_bytes"));
        assert_eq!(Override::from_variable("CAVS_AGENT_X", String::new()), None);
        assert_eq!(Override::from_variable("HOME", String::new()), None);
    }
}
