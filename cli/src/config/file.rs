//! The configuration file, as it is read and as commands change it.

use std::{
    collections::BTreeMap,
    env, fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use toml_edit::{DocumentMut, Item, Table, value};

use crate::{
    error::CliError,
    sync::{TargetName, TargetSection},
};

/// No configuration file of ours is longer.
const MAX_CONFIG_BYTES: u64 = 64 * 1024;
/// Longest name of a context, in bytes: session files are named by it.
const MAX_NAME_BYTES: usize = 64;

/// The file as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileConfig {
    pub(crate) context: Option<ContextName>,
    #[serde(default)]
    pub(crate) contexts: BTreeMap<ContextName, Context>,
    /// This and what follows is for whoever has no context, and where a context says nothing.
    pub(crate) server: Option<String>,
    pub(crate) ca: Option<PathBuf>,
    pub(crate) site: Option<String>,
    pub(crate) user: Option<String>,
    /// Other systems that attendance is sent to.
    #[serde(default)]
    pub(crate) targets: BTreeMap<TargetName, TargetSection>,
}

/// A server and how it is spoken to.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Context {
    pub(crate) server: Option<String>,
    /// Relative to the configuration file's folder.
    pub(crate) ca: Option<PathBuf>,
    pub(crate) site: Option<String>,
    pub(crate) user: Option<String>,
}

/// Name of a context: letters, digits, `.`, `_` and `-`, with a letter or a digit at the beginning.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct ContextName(String);

impl ContextName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ContextName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let is_inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let begins_well = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        if begins_well && text.len() <= MAX_NAME_BYTES && text.chars().all(is_inner) {
            return Ok(Self(text));
        }
        Err(format!(
            "{text:?} can't be the name of a context: up to {MAX_NAME_BYTES} letters, digits, '.', '_' and '-', with a letter or digit first"
        ))
    }
}

impl std::str::FromStr for ContextName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::try_from(text.to_owned())
    }
}

impl std::fmt::Display for ContextName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where the file is if no option says it: by the XDG base directories, of which relative ones count for nothing.
pub(super) fn default_path() -> Result<PathBuf, CliError> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_CONFIG_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".config")))
        .map(|base| base.join("cavs").join("config.toml"))
        .ok_or_else(|| CliError::usage("neither HOME nor XDG_CONFIG_HOME is set; give --config FILE"))
}

pub(super) fn read(path: &Path, required: bool) -> Result<FileConfig, CliError> {
    let Some(text) = read_text(path, required)? else { return Ok(FileConfig::default()) };
    toml::from_str(&text).map_err(|error| wrong(path, &error.to_string()))
}

/// Reads a small text file whole.
pub(crate) fn read_limited(path: &Path) -> io::Result<String> {
    use io::Read;
    let mut text = String::new();
    fs::File::open(path)?.take(MAX_CONFIG_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_CONFIG_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "is larger than 64 KiB"));
    }
    Ok(text)
}

/// The file to be changed: comments, order and what is not touched stay as somebody wrote them.
pub(crate) struct ConfigEditor {
    path: PathBuf,
    document: DocumentMut,
}

impl ConfigEditor {
    /// # Errors
    /// Where the file can't be read or is no TOML.
    pub(crate) fn open(path: &Path) -> Result<Self, CliError> {
        let text = read_text(path, false)?.unwrap_or_default();
        let document = text.parse().map_err(|error: toml_edit::TomlError| wrong(path, &error.to_string()))?;
        Ok(Self { path: path.to_owned(), document })
    }

    /// Names the context that is in use from now on; `None`: none is.
    pub(crate) fn choose(&mut self, name: Option<&ContextName>) {
        match name {
            Some(name) => self.document["context"] = value(name.as_str()),
            None => drop(self.document.remove("context")),
        }
    }

    /// Says of a context what `context` says, and leaves the rest.
    pub(crate) fn put(&mut self, name: &ContextName, context: &Context) -> Result<(), CliError> {
        let contexts = self.document.entry("contexts").or_insert_with(|| {
            let mut table = Table::new();
            // Only its parts are written as sections.
            table.set_implicit(true);
            Item::Table(table)
        });
        let place = contexts
            .as_table_like_mut()
            .map(|table| table.entry(name.as_str()).or_insert_with(|| Item::Table(Table::new())))
            .and_then(Item::as_table_like_mut)
            .ok_or_else(|| wrong(&self.path, "contexts: expected [contexts.NAME] sections"))?;
        let Context { server, ca, site, user } = context;
        let ca = ca.as_ref().map(|path| path.display().to_string());
        for (key, said) in [("server", server), ("ca", &ca), ("site", site), ("user", user)] {
            if let Some(text) = said {
                place.insert(key, value(text));
            }
        }
        Ok(())
    }

    /// Forgets a context.
    pub(crate) fn remove(&mut self, name: &ContextName) {
        let contexts = self.document.get_mut("contexts").and_then(Item::as_table_like_mut);
        if let Some(contexts) = contexts {
            contexts.remove(name.as_str());
        }
    }

    /// Writes the file in the place of the earlier one, whole or not at all.
    ///
    /// # Errors
    /// Where it can't be written.
    pub(crate) fn save(self) -> Result<(), CliError> {
        let Self { path, document } = self;
        replace(&path, document.to_string().as_bytes()).map_err(|error| CliError::file(&path, error))
    }
}

/// Writes a file for its owner's eyes in the place of an earlier one; its folder is made where there is none.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    use io::Write;
    // Whoever links the file elsewhere wants it changed there.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let dir = path.parent().filter(|dir| *dir != Path::new("")).unwrap_or(Path::new("."));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    // A temporary file is made with mode 0600, so that no secret is there for others to read.
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    file.persist(&path)?;
    Ok(())
}

fn read_text(path: &Path, required: bool) -> Result<Option<String>, CliError> {
    match read_limited(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !required => Ok(None),
        Err(error) => Err(CliError::file(path, error)),
    }
}

fn wrong(path: &Path, problem: &str) -> CliError {
    CliError::usage(format!("{}: {}", path.display(), problem.trim_end().replace('\n', "\n  ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_keys_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        for (text, key) in [("sever = \"https://x\"", "sever"), ("[contexts.a]\nservr = \"x\"", "servr")] {
            fs::write(&path, text).unwrap();
            let error = read(&path, true).unwrap_err().to_string();
            let unknown = format!("unknown field `{key}`");
            assert!(error.contains("config.toml") && error.contains(&unknown), "{error}");
        }
    }

    #[test]
    fn names_of_contexts_are_names_of_files() {
        for name in ["school", "North-1", "a.b_c", "7"] {
            name.parse::<ContextName>().unwrap();
        }
        for name in ["", ".", "..", "a/b", "-x", "\u{e9}", "a b", &"x".repeat(65)] {
            name.parse::<ContextName>().unwrap_err();
        }
    }

    #[test]
    fn what_somebody_wrote_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/config.toml");
        let (school, other): (ContextName, ContextName) =
            ("school".parse().unwrap(), "other".parse().unwrap());
        let change = |act: &dyn Fn(&mut ConfigEditor)| {
            let mut editor = ConfigEditor::open(&path).unwrap();
            act(&mut editor);
            editor.save().unwrap();
            fs::read_to_string(&path).unwrap()
        };
        let context = |server: &str| Context { server: Some(server.to_owned()), ..Context::default() };
        let text = change(&|editor| {
            editor.put(&school, &context("https://a")).unwrap();
            editor.choose(Some(&school));
        });
        assert_eq!(text, "context = \"school\"\n\n[contexts.school]\nserver = \"https://a\"\n");
        fs::write(&path, format!("# mine\n{text}")).unwrap();
        let text = change(&|editor| {
            editor.put(&other, &context("https://b")).unwrap();
            editor.put(&school, &Context { site: Some("North".to_owned()), ..Context::default() }).unwrap();
        });
        assert!(
            text.starts_with("# mine\n") && text.contains("https://a") && text.contains("North"),
            "{text}"
        );
        let text = change(&|editor| {
            editor.remove(&school);
            editor.choose(None);
        });
        assert!(!text.contains("school") && text.contains("https://b"), "{text}");
        let config = read(&path, true).unwrap();
        assert_eq!(config.contexts.len(), 1);
    }
}
