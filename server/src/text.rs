//! Texts that people type: one form for what looks the same, and nothing that nobody can see.

use cavs_types::ProtocolError;
use unicode_normalization::UnicodeNormalization;
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

/// Most bytes of a text for each character that it may have: a bound before anything is computed. A letter
/// with the marks that belong to it may be written with several characters.
const BYTES: usize = 16;

/// A name as it is stored: trimmed, composed (NFC), within a length in characters, and without what can't be
/// seen. The joiners that Persian and Hindi names need, and the selectors of variants of a character, are
/// allowed beside a character.
pub(super) fn name(field: &'static str, text: &str, longest: usize) -> Result<String, ProtocolError> {
    let text = bounded(field, text, longest)?.nfc().collect::<String>();
    let mut before = None;
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        let beside =
            |other: Option<char>| other.is_some_and(|other| !other.is_whitespace() && !hidden(other));
        let allowed = match c {
            '\u{200c}' | '\u{200d}' => beside(before) && beside(characters.peek().copied()),
            _ if is_selector(c) => beside(before),
            _ => !hidden(c),
        };
        if !allowed {
            return Err(refused(field, c));
        }
        before = Some(c);
    }
    within(field, text, longest)
}

/// A number or a user name as it is stored and compared: as [`name`], with half-width and full-width
/// characters in their ordinary form, and without any character that can't be told from others or none.
pub(super) fn identifier(field: &'static str, text: &str, longest: usize) -> Result<String, ProtocolError> {
    let text = bounded(field, text, longest)?;
    let text: String = text.chars().flat_map(ordinary_width).nfc().collect();
    let space = |c: char| c != ' ' && c.general_category() == GeneralCategory::SpaceSeparator;
    if let Some(c) = text.chars().find(|c| hidden(*c) || is_selector(*c) || space(*c)) {
        return Err(refused(field, c));
    }
    within(field, text.trim().to_owned(), longest)
}

/// What another system calls something, in at most 200 characters; may be empty.
pub(super) fn external_id(typed: &str) -> Result<String, ProtocolError> {
    identifier("external_id", typed, 200)
}

/// A text that must not be empty.
pub(super) fn required(field: &'static str, text: String) -> Result<String, ProtocolError> {
    if text.is_empty() { Err(ProtocolError::Missing { field }) } else { Ok(text) }
}

/// Text of several lines: line feeds and tabs are allowed.
pub(super) fn paragraph(field: &'static str, text: &str, longest: usize) -> Result<String, ProtocolError> {
    let text = bounded(field, text, longest)?.nfc().collect::<String>();
    if text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
        return Err(ProtocolError::invalid(field, "control characters are not allowed"));
    }
    within(field, text, longest)
}

/// The words that a name is looked for by: in small letters, without accents, and letters that some keyboards lack as
/// those that stand for them.
#[must_use]
pub(super) fn words(name: &str) -> Vec<String> {
    let mut small = String::with_capacity(name.len());
    for c in name.to_lowercase().nfkd().filter(|c| !matches!(c, '\u{300}'..='\u{36f}')) {
        match c {
            'ß' => small.push_str("ss"),
            'æ' => small.push_str("ae"),
            'œ' => small.push_str("oe"),
            'þ' => small.push_str("th"),
            'ø' => small.push('o'),
            'đ' | 'ð' => small.push('d'),
            'ł' => small.push('l'),
            'ı' => small.push('i'),
            c => small.push(c),
        }
    }
    let words = small.split(|c: char| c.is_whitespace() || c.is_ascii_punctuation());
    let mut words: Vec<String> = words.filter(|word| !word.is_empty()).map(str::to_owned).collect();
    words.sort_unstable();
    words.dedup();
    words
}

/// Makes a text of a device's fit to be stored and shown: cut to a length, control characters
/// replaced. For what is only informative, so that a strange name costs no sighting.
#[must_use]
pub(crate) fn printable(text: &str, longest: usize) -> String {
    text.chars().take(longest).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// A name that is only looked up, in the form of those that are stored.
///
/// # Errors
/// `Invalid`: too long, or with a character that no stored name has.
pub(crate) fn lookup_name(field: &'static str, text: &str) -> Result<String, ProtocolError> {
    name(field, text, 1000)
}

/// As [`lookup_name`], for a number.
///
/// # Errors
/// `Invalid`: too long, or with a character that no stored number has.
pub(crate) fn lookup_number(field: &'static str, text: &str) -> Result<String, ProtocolError> {
    identifier(field, text, 1000)
}

fn bounded<'a>(field: &'static str, text: &'a str, longest: usize) -> Result<&'a str, ProtocolError> {
    let text = text.trim();
    if text.len() > longest * BYTES { Err(too_long(field, longest)) } else { Ok(text) }
}

fn within(field: &'static str, text: String, longest: usize) -> Result<String, ProtocolError> {
    if text.chars().count() > longest { Err(too_long(field, longest)) } else { Ok(text) }
}

fn too_long(field: &'static str, longest: usize) -> ProtocolError {
    ProtocolError::invalid(field, format_args!("at most {longest} characters"))
}

fn refused(field: &'static str, c: char) -> ProtocolError {
    if c.is_control() {
        return ProtocolError::invalid(field, "control characters are not allowed");
    }
    let kind = if c.is_whitespace() { "is no ordinary space and" } else { "can't be seen and" };
    ProtocolError::invalid(field, format_args!("the character U+{:04X} {kind} is not allowed", u32::from(c)))
}

/// A character of the block of half-width and full-width forms, or the wide space, as the ordinary one.
fn ordinary_width(c: char) -> impl Iterator<Item = char> {
    let wide = matches!(c, '\u{ff00}'..='\u{ffef}' | '\u{3000}');
    let folded = wide.then(|| std::iter::once(c).nfkc());
    let kept = (!wide).then_some(c);
    folded.into_iter().flatten().chain(kept)
}

/// Whether a character shows nothing where it stands: controls, formats, line and paragraph separators, and
/// those of the property `Default_Ignorable_Code_Point` that are no formats (DerivedCoreProperties.txt of
/// Unicode 16), but for the selectors of variants; and the empty pattern of Braille.
fn hidden(c: char) -> bool {
    let category = c.general_category();
    matches!(
        category,
        GeneralCategory::Control
            | GeneralCategory::Format
            | GeneralCategory::LineSeparator
            | GeneralCategory::ParagraphSeparator
    ) || matches!(
        c,
        '\u{034f}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{2065}'
            | '\u{2800}'
            | '\u{3164}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fff8}'
            | '\u{e0000}'..='\u{e00ff}'
            | '\u{e01f0}'..='\u{e0fff}'
    )
}

/// Whether a character only says which form of the one before it is meant.
fn is_selector(c: char) -> bool {
    matches!(c, '\u{180b}'..='\u{180d}' | '\u{180f}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_that_look_alike_are_one() {
        let number = |text| identifier("number", text, 64).unwrap();
        assert_eq!(number("９００３"), "9003");
        assert_eq!(number("Ａ－１７\u{3000}ｂ"), "A-17 b");
        assert_eq!(number("E\u{301}1"), number("\u{c9}1"));
        assert_eq!(number("ﾊﾞ1"), number("バ1"));
        assert_eq!(number("\u{3000}7 "), "7");
        // Nothing but the width is folded.
        assert_eq!(number("17²"), "17²");
    }

    #[test]
    fn what_nobody_can_see_is_refused() {
        let error = |text| identifier("number", text, 64).unwrap_err().to_string();
        assert_eq!(error("9003\u{200b}"), "number: the character U+200B can't be seen and is not allowed");
        assert_eq!(
            error("17\u{a0}b"),
            "number: the character U+00A0 is no ordinary space and is not allowed"
        );
        assert_eq!(error("1\u{7}"), "number: control characters are not allowed");
        for hidden in
            ["\u{ad}", "\u{34f}", "\u{3164}", "\u{ffa0}", "\u{fe0f}", "\u{200d}", "\u{2028}", "\u{e0041}"]
        {
            assert!(identifier("number", &format!("1{hidden}2"), 64).is_err(), "{hidden:?}");
        }
        for hidden in
            ["\u{200b}", "\u{202e}", "\u{2066}", "\u{feff}", "\u{115f}", "\u{2800}", "\u{200d}", "\u{fe0f}"]
        {
            assert!(name("name", &format!("{hidden}Ada"), 64).is_err(), "{hidden:?}");
            assert!(name("name", hidden, 64).is_err(), "{hidden:?} alone");
        }
        assert!(name("name", "Ada \u{202e}ecalevoL", 64).is_err());
    }

    #[test]
    fn names_of_all_scripts_are_kept() {
        let names = [
            "አበበ ቢቂላ",
            "محمد بن سلمان",
            "می\u{200c}رضا",
            "क्\u{200d}ष",
            "王小明 🎓",
            "葛\u{e0100}城",
            "❤\u{fe0f} Ada",
            "O'Brien \"Bo\"",
            "Nguyễn Thị Ánh",
        ];
        for kept in names {
            assert_eq!(name("name", kept, 200).unwrap(), kept.nfc().collect::<String>());
        }
        assert_eq!(name("name", "Zoe\u{308} ", 200).unwrap(), "Zo\u{eb}");
    }

    #[test]
    fn lengths_are_of_what_is_stored() {
        assert_eq!(name("name", &"e\u{301}".repeat(200), 200).unwrap().chars().count(), 200);
        assert!(name("name", &"x".repeat(201), 200).is_err());
        assert!(name("name", &"x".repeat(1 << 20), 200).is_err());
    }

    #[test]
    fn names_are_found_by_their_words() {
        assert_eq!(words("O'Brien-Love, ADA Ada"), ["ada", "brien", "love", "o"]);
        assert_eq!(words("Zoë Łukasz STRAßE Nguyễn Bjørn"), ["bjorn", "lukasz", "nguyen", "strasse", "zoe"]);
        assert!(words(" -- ").is_empty());
    }

    proptest! {
        #[test]
        fn what_was_normalised_stays_so(text in "\\PC{0,20}|[\u{ff00}-\u{ffef} e\u{301}]{0,9}|.{0,9}") {
            for form in [name, identifier] {
                if let Ok(once) = form("x", &text, 200) {
                    prop_assert_eq!(form("x", &once, 200), Ok(once.clone()));
                    prop_assert!(!once.chars().any(char::is_control));
                }
            }
        }
    }
}
