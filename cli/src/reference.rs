//! The reference of all commands, `docs/CLI.md`, as the command line itself says it.

use std::fmt::{Error, Write};

use clap::{Arg, Command};

const BEGIN: &str = "# Commands\n\n<!-- Made from the command line's own help; a test of cavs-cli compares it, and writes it anew with \
CAVS_UPDATE_DOCS=1. -->\n";

/// The whole reference in Markdown.
///
/// # Errors
/// Never: text is written into memory.
pub fn reference() -> Result<String, Error> {
    let mut root = crate::command().term_width(100);
    root.build();
    let mut text = String::from(BEGIN);
    write_command(&mut text, &mut root, true)?;
    Ok(text)
}

fn write_command(text: &mut String, command: &mut Command, is_root: bool) -> Result<(), Error> {
    let path = command.get_bin_name().unwrap_or_else(|| command.get_name()).to_owned();
    write!(text, "\n## {path}\n")?;
    if let Some(about) = command.get_long_about().or_else(|| command.get_about()) {
        write!(text, "\n{about}\n")?;
    }
    let aliases: Vec<_> = command.get_visible_aliases().map(|alias| format!("`{alias}`")).collect();
    if !aliases.is_empty() {
        write!(text, "\nAlso {}.\n", aliases.join(", "))?;
    }
    let usage = command.render_usage().to_string();
    write!(text, "\n```text\n{}\n```\n", usage.trim_start_matches("Usage: ").trim_end())?;
    let arguments = command.get_arguments().filter(|arg| {
        let is_everywhere = arg.is_global_set() && !is_root;
        !arg.is_hide_set() && !is_everywhere && !matches!(arg.get_id().as_str(), "help" | "version")
    });
    let lines = arguments.map(argument).collect::<Result<Vec<_>, _>>()?;
    if !lines.is_empty() {
        write!(text, "\n{}\n", lines.join("\n"))?;
    }
    if let Some(more) = command.get_after_long_help().or_else(|| command.get_after_help()) {
        write!(text, "\n{}\n", paragraphs(&more.to_string()))?;
    }
    for part in command.get_subcommands_mut() {
        if part.get_name() != "help" && !part.is_hide_set() {
            write_command(text, part, false)?;
        }
    }
    Ok(())
}

fn argument(arg: &Arg) -> Result<String, Error> {
    let mut text = String::from("- `");
    let names: Vec<_> = arg.get_value_names().unwrap_or_default().iter().map(|name| name.as_str()).collect();
    let takes_value = arg.get_action().takes_values();
    match (arg.get_short(), arg.get_long()) {
        (Some(short), Some(long)) => write!(text, "-{short}, --{long}")?,
        (None, Some(long)) => write!(text, "--{long}")?,
        (Some(short), None) => write!(text, "-{short}")?,
        (None, None) => write!(text, "{}", names.join(" "))?,
    }
    if takes_value && !arg.is_positional() {
        write!(text, " {}", names.join(" "))?;
    }
    let many = arg.get_num_args().is_some_and(|range| range.max_values() > 1 && arg.is_positional());
    text.push_str(if many { "...`" } else { "`" });
    if let Some(help) = arg.get_long_help().or_else(|| arg.get_help()) {
        write!(text, ": {}", help.to_string().replace("\n\n", " ").replace('\n', " "))?;
    }
    let values: Vec<_> = arg.get_possible_values().into_iter().filter(|value| !value.is_hide_set()).collect();
    if takes_value && !values.is_empty() && !arg.is_hide_possible_values_set() {
        let values: Vec<_> = values.iter().map(|value| format!("`{}`", value.get_name())).collect();
        write!(text, "; one of {}", values.join(", "))?;
    }
    let defaults: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    if takes_value && !defaults.is_empty() && !arg.is_hide_default_value_set() && defaults != [""] {
        write!(text, "; `{}` if not said", defaults.join(", "))?;
    }
    if let Some(variable) = arg.get_env() {
        write!(text, "; or by `{}`", variable.to_string_lossy())?;
    }
    Ok(text)
}

/// Lines that are indented are shown as they are.
fn paragraphs(text: &str) -> String {
    let (mut out, mut is_code) = (String::new(), false);
    for line in text.lines() {
        if line.starts_with("  ") != is_code {
            is_code = !is_code;
            out.push_str(if is_code { "\n```text\n" } else { "```\n\n" });
        }
        out.push_str(line);
        out.push('\n');
    }
    if is_code {
        out.push_str("```\n");
    }
    out.trim_end().to_owned()
}
