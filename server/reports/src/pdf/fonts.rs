use std::{cell::RefCell, collections::BTreeSet, sync::Arc};

use fontdb::{Database, ID, Style, Weight};
use krilla::text::Font;

use crate::FileError;

/// Families that are asked first, for their wide coverage and even looks.
const FIRST: [&str; 8] = [
    "DejaVu Sans",
    "Noto Sans",
    "Noto Sans Ethiopic",
    "Abyssinica SIL",
    "Noto Sans Arabic",
    "Noto Naskh Arabic",
    "Liberation Sans",
    "FreeSans",
];

/// The fonts that letters are taken from: each text from the first one that has its letters.
pub struct Fonts {
    database: Database,
    /// Faces in the order in which they are asked: those of ordinary weight, and those that are bold.
    regular: Vec<ID>,
    bold: Vec<ID>,
    /// Those that were asked for something and had it.
    loaded: RefCell<Vec<Arc<Face>>>,
}

/// A font that letters are taken from.
pub(super) struct Face {
    id: ID,
    data: Arc<Vec<u8>>,
    index: u32,
    pub(super) font: Font,
}

impl Face {
    /// What shapes text with it.
    pub(super) fn shaper(&self) -> Option<rustybuzz::Face<'_>> {
        rustybuzz::Face::from_slice(&self.data, self.index)
    }
}

impl Fonts {
    /// Those that are installed on this machine.
    #[must_use]
    pub fn installed() -> Self {
        let mut database = Database::new();
        database.load_system_fonts();
        Self::new(database)
    }

    /// These files.
    #[must_use]
    pub fn of(files: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let mut database = Database::new();
        files.into_iter().for_each(|file| database.load_font_data(file));
        Self::new(database)
    }

    fn new(database: Database) -> Self {
        let ordered = |bold: bool| {
            let rank = |family: &str| FIRST.iter().position(|first| *first == family).unwrap_or(FIRST.len());
            let mut faces: Vec<_> = database
                .faces()
                .filter(|face| face.style == Style::Normal && (face.weight == Weight::BOLD) == bold)
                .filter(|face| bold || face.weight == Weight::NORMAL)
                .map(|face| {
                    let family = face.families.first().map(|(name, _)| name.as_str()).unwrap_or_default();
                    // Condensed faces of a family have its name, too: what is wider goes before.
                    let narrow = face.post_script_name.contains("Condensed");
                    (rank(family), narrow, face.post_script_name.clone(), face.id)
                })
                .collect();
            faces.sort_by(|one, other| (one.0, one.1, &one.2).cmp(&(other.0, other.1, &other.2)));
            faces.into_iter().map(|(_, _, _, id)| id).collect::<Vec<_>>()
        };
        let (regular, bold) = (ordered(false), ordered(true));
        Self { database, regular, bold, loaded: RefCell::default() }
    }

    /// The first face that has a letter; `None`: none has.
    pub(super) fn face(&self, letter: char, bold: bool) -> Option<Arc<Face>> {
        let order = || self.bold.iter().filter(|_| bold).chain(&self.regular);
        for id in order() {
            let has = |face: &Arc<Face>| face.id == *id;
            let loaded = self.loaded.borrow().iter().find(|face| has(face)).cloned();
            if let Some(face) = loaded {
                if face.shaper().is_some_and(|shaper| shaper.glyph_index(letter).is_some()) {
                    return Some(face);
                }
                continue;
            }
            let covers = self.database.with_face_data(*id, |data, index| {
                let face = rustybuzz::Face::from_slice(data, index)?;
                face.glyph_index(letter).map(|_| (data.to_vec(), index))
            });
            let Some((data, index)) = covers.flatten() else { continue };
            let data = Arc::new(data);
            let Some(font) = Font::new(Arc::clone(&data).into(), index) else { continue };
            let face = Arc::new(Face { id: *id, data, index, font });
            self.loaded.borrow_mut().push(Arc::clone(&face));
            return Some(face);
        }
        None
    }

    /// # Errors
    /// There are none.
    pub(super) fn check(&self) -> Result<(), FileError> {
        if self.face('a', false).is_some() && self.face('?', false).is_some() {
            Ok(())
        } else {
            Err(FileError::NoFonts)
        }
    }

    /// The letters of a text that no font has.
    pub(super) fn missing(&self, text: &str, bold: bool) -> BTreeSet<char> {
        let is_missing = |c: &char| !is_beside(*c) && !c.is_whitespace() && self.face(*c, bold).is_none();
        text.chars().filter(is_missing).collect()
    }
}

/// Joiners, marks of direction and selectors: nothing of their own is to be seen.
pub(super) const fn is_beside(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}')
}
