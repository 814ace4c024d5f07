/// Where a file can't be understood and why, without the line itself and without values, as any of them may be
/// a password.
pub(super) fn without_values(text: &str, error: &toml::de::Error) -> String {
    let problem = without_string(error.message());
    let Some(before) = error.span().and_then(|span| text.get(..span.start)) else { return problem };
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!("line {line}, column {column}: {problem}")
}

/// A message without the text that it quotes: `invalid type: string "...", expected a sequence`.
fn without_string(message: &str) -> String {
    const BEGIN: &str = "string \"";
    let message = message.trim_end();
    match (message.find(BEGIN), message.rfind("\", expected")) {
        (Some(begin), Some(end)) if begin < end => {
            format!("{}a string{}", &message[..begin], &message[end + 1..])
        }
        (Some(begin), _) => format!("{}a string", &message[..begin]),
        (None, _) => message.to_owned(),
    }
}
