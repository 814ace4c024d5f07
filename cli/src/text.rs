//! Text that others wrote, made harmless for a terminal.

use std::borrow::Cow;

/// Longest text from the server in one place of a table or a message: as long as notes may be.
const MAX_CHARS: usize = 2000;

/// Text with nothing in it that a terminal acts upon: no escape sequences, no line breaks, no
/// reversal of the reading direction, and not endlessly long.
///
/// Names and notes come from many hands, and whoever reads a list must not have their terminal
/// driven by one of them.
#[must_use]
pub fn sanitised(text: &str) -> Cow<'_, str> {
    let long = text.char_indices().nth(MAX_CHARS);
    if long.is_none() && !text.chars().any(is_terminal_control) {
        return Cow::Borrowed(text);
    }
    let end = long.map_or(text.len(), |(end, _)| end);
    let mut clean: String = text[..end].chars().map(replacement).collect();
    if long.is_some() {
        clean.push('…');
    }
    Cow::Owned(clean)
}

/// Escapes what [`sanitised`] would replace in a JSON document. The document says the same.
#[must_use]
pub fn sanitised_json(document: &str) -> Cow<'_, str> {
    // Line breaks of the layout are no part of a string: there they are escaped already.
    let active = |c: char| c != '\n' && is_terminal_control(c);
    if !document.chars().any(active) {
        return Cow::Borrowed(document);
    }
    let mut clean = String::with_capacity(document.len() + 16);
    for c in document.chars() {
        if active(c) {
            // All of them lie in the basic plane, so one escape is enough.
            clean.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            clean.push(c);
        }
    }
    Cow::Owned(clean)
}

/// Whether a document has nothing in it that a terminal acts upon, but for line breaks.
pub(crate) fn is_harmless_document(document: &str) -> bool {
    !document.chars().any(|c| c != '\n' && is_terminal_control(c))
}

/// Text of a document with the replacement character for what a terminal acts upon. Line breaks and tabulators stay.
pub(crate) fn uncontrolled(text: String) -> String {
    if is_harmless_document(&text) {
        return text;
    }
    let replaced = |c| match c {
        '\n' | '\t' => c,
        c if is_terminal_control(c) => char::REPLACEMENT_CHARACTER,
        c => c,
    };
    text.chars().map(replaced).collect()
}

fn replacement(c: char) -> char {
    match c {
        '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}' => ' ',
        c if is_terminal_control(c) => char::REPLACEMENT_CHARACTER,
        c => c,
    }
}

/// Control characters (C0, DEL, C1), line and paragraph separators, controls of the reading
/// direction (Unicode UAX 9), and invisible ones that no script needs. The joiners U+200C and
/// U+200D stay: Persian and Hindi names are written with them.
fn is_terminal_control(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{061c}'
                | '\u{200b}'
                | '\u{200e}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
        )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escape_sequences_lose_their_power() {
        assert_eq!(sanitised("\u{1b}]0;owned\u{7}Ada\u{9b}31m"), "\u{fffd}]0;owned\u{fffd}Ada\u{fffd}31m");
        assert_eq!(sanitised("Ada\r\nLovelace\t!"), "Ada  Lovelace !");
        assert_eq!(sanitised("\u{202e}adA"), "\u{fffd}adA");
    }

    #[test]
    fn names_of_all_scripts_stay() {
        for name in ["Zoë Müller", "李小龙", "محمد", "می\u{200c}خواهم", "क्\u{200d}ष", "O'Brien-Şahin"]
        {
            assert!(matches!(sanitised(name), Cow::Borrowed(kept) if kept == name));
        }
    }

    #[test]
    fn endless_text_ends() {
        let text = sanitised(&"é".repeat(10_000)).into_owned();
        assert_eq!(text.chars().count(), MAX_CHARS + 1);
        assert!(text.ends_with('…'));
    }

    proptest! {
        #[test]
        fn nothing_active_is_left(text: String) {
            prop_assert!(!sanitised(&text).chars().any(is_terminal_control));
        }

        #[test]
        fn json_says_the_same(text: String) {
            let document = serde_json::to_string_pretty(&[&text]).unwrap();
            let clean = sanitised_json(&document);
            prop_assert!(!clean.replace('\n', "").chars().any(is_terminal_control));
            let read: Vec<String> = serde_json::from_str(&clean).unwrap();
            prop_assert_eq!(&read[0], &text);
        }
    }
}
