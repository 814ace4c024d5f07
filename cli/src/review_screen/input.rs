//! What the terminal sends, as keys of the review.

use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::model::Key;

/// Makes keys of a terminal's events.
#[derive(Debug, Default)]
pub(super) struct Input {
    /// An answer to what the terminal was asked came too late and is being read: it looks as if it were typed, and has
    /// digits in it.
    in_answer: bool,
}

impl Input {
    /// The key that an event is, where it is one.
    pub(super) fn key(&mut self, event: Event) -> Option<Key> {
        match event {
            Event::Key(KeyEvent {
                code,
                modifiers,
                kind: KeyEventKind::Press | KeyEventKind::Repeat,
                ..
            }) => self.pressed(code, modifiers),
            Event::Paste(text) => Some(Key::Paste(text)),
            Event::Key(_) | Event::Resize(..) | Event::FocusGained | Event::FocusLost | Event::Mouse(_) => {
                None
            }
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "a keyboard has many keys that mean nothing here")]
    fn pressed(&mut self, code: KeyCode, modifiers: KeyModifiers) -> Option<Key> {
        let is_alt = modifiers.contains(KeyModifiers::ALT);
        match code {
            // An answer of kitty begins with ESC _ and ends with ESC \.
            KeyCode::Char('\\') if is_alt => self.in_answer = false,
            KeyCode::Char('_') if is_alt => self.in_answer = true,
            _ => {}
        }
        let is_control = modifiers.contains(KeyModifiers::CONTROL);
        match code {
            KeyCode::Char('c') if is_control => Some(Key::Interrupt),
            _ if is_alt || is_control || self.in_answer => None,
            KeyCode::Char(typed) => Some(Key::Char(typed)),
            KeyCode::Enter => Some(Key::Enter),
            KeyCode::Esc => Some(Key::Escape),
            KeyCode::Backspace => Some(Key::Backspace),
            KeyCode::Down | KeyCode::Right => Some(Key::Next),
            KeyCode::Up | KeyCode::Left => Some(Key::Previous),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_comes_late_is_no_verdict() {
        let mut input = Input::default();
        let mut typed = |text: &str| -> Vec<Key> {
            let keys = text.chars().map(|c| match c {
                'A'..='Z' | '<' | '>' => KeyEvent::new(
                    KeyCode::Char(match c {
                        '<' => '_',
                        '>' => '\\',
                        c => c.to_ascii_lowercase(),
                    }),
                    if c.is_ascii_alphabetic() { KeyModifiers::CONTROL } else { KeyModifiers::ALT },
                ),
                c => KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE),
            });
            keys.filter_map(|key| input.key(Event::Key(key))).collect()
        };
        assert_eq!(typed("1<Gi=31;ok>r"), [Key::Char('1'), Key::Char('r')]);
        // Whoever ends it, ends it, whatever came before.
        assert_eq!(typed("<12C"), [Key::Interrupt]);
        let released = KeyEvent { kind: KeyEventKind::Release, ..KeyEvent::from(KeyCode::Char('1')) };
        assert_eq!(Input::default().key(Event::Key(released)), None);
        assert_eq!(Input::default().key(Event::Resize(1, 1)), None);
        let down = Event::Key(KeyEvent::from(KeyCode::Down));
        assert_eq!(Input::default().key(down), Some(Key::Next));
    }
}
