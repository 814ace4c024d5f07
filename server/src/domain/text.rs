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
