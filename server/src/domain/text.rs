use cavs_proto::ProtocolError;

/// Checks a text that a person typed: trimmed, within a length, without control characters.
pub(super) fn line(field: &'static str, text: &str, longest: usize) -> Result<String, ProtocolError> {
    let text = text.trim();
    if text.chars().count() > longest {
        return Err(ProtocolError::invalid(field, format_args!("at most {longest} characters")));
    }
    if text.chars().any(char::is_control) {
        return Err(ProtocolError::invalid(field, "control characters are not allowed"));
    }
    Ok(text.to_owned())
}

/// As [`line`], and not empty.
pub(super) fn required_line(
    field: &'static str,
    text: &str,
    longest: usize,
) -> Result<String, ProtocolError> {
    let text = line(field, text, longest)?;
    if text.is_empty() { Err(ProtocolError::Missing { field }) } else { Ok(text) }
}

/// Text of several lines: line feeds and tabs are allowed.
pub(super) fn paragraph(field: &'static str, text: &str, longest: usize) -> Result<String, ProtocolError> {
    let text = text.trim();
    if text.chars().count() > longest {
        return Err(ProtocolError::invalid(field, format_args!("at most {longest} characters")));
    }
    if text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
        return Err(ProtocolError::invalid(field, "control characters are not allowed"));
    }
    Ok(text.to_owned())
}

/// Makes a text of a device's fit to be stored and shown: cut to a length, control characters
/// replaced. For what is only informative, so that a strange name costs no sighting.
#[must_use]
pub fn printable(text: &str, longest: usize) -> String {
    text.chars().take(longest).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// Checks a text that is only looked up.
///
/// # Errors
/// `Invalid`: too long, or with a character that no stored text has.
pub fn lookup(field: &'static str, text: &str) -> Result<String, ProtocolError> {
    line(field, text, 1000)
}
