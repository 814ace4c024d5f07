//! `analyze`: the vision part alone, over files, one JSON line each. See `docs/ANALYZE.md`.

mod format;
mod list;
mod liveness;

use std::{
    io::{self, Write},
    path::Path,
};

pub use list::{ImageList, ListError};
pub use liveness::calibrate;

use crate::{
    source::read_bounded,
    vision::{Analysis, ImageFailure, Vision, analyze_guarded},
};

/// Images that a run has read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Images, bad ones included.
    pub images: u64,
    /// Images that could not be analysed.
    pub failed: u64,
}

/// Analyses one image after the other and writes a line for each as soon as it is known. Images
/// that can't be analysed are lines too.
///
/// # Errors
/// The output can't be written, or a list of images not read.
pub fn run<V: Vision>(
    vision: &mut V,
    images: ImageList,
    embeddings: bool,
    out: &mut impl Write,
) -> Result<Tally, ListError> {
    let mut tally = Tally::default();
    for image in images {
        let image = image?;
        let result = analyze(vision, &image);
        tally.images += 1;
        tally.failed += u64::from(result.is_err());
        write_line(out, &image, &result, embeddings).map_err(ListError::Output)?;
    }
    Ok(tally)
}

fn analyze<V: Vision>(vision: &mut V, image: &Path) -> Result<Analysis, ImageFailure> {
    let data = read_bounded(image)
        .map_err(|error| ImageFailure { reason: "IMAGE_UNREADABLE", message: error.to_string() })?;
    analyze_guarded(vision, &data)
}

fn write_line(
    out: &mut impl Write,
    image: &Path,
    result: &Result<Analysis, ImageFailure>,
    embeddings: bool,
) -> io::Result<()> {
    serde_json::to_writer(&mut *out, &format::ImageLine::new(image, result, embeddings))?;
    out.write_all(b"\n")?;
    // Whoever reads along sees every line at once.
    out.flush()
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsString, fs, path::PathBuf};

    use super::*;
    use crate::vision::fake::FakeVision;

    fn output(embeddings: bool) -> (String, Tally) {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for (name, text) in
            [("two.jpg", "faces 2"), ("none.jpg", "faces 0"), ("bad.jpg", "?"), ("p", "panic")]
        {
            fs::write(path(name), text).unwrap();
        }
        let list = path("list");
        fs::write(&list, format!("{}\n\n{}\n", path("none.jpg").display(), path("p").display())).unwrap();
        let arguments: Vec<OsString> =
            ["two.jpg", "bad.jpg", "gone.jpg"].map(|name| path(name).into_os_string()).into();
        let images = ImageList::new(arguments, Some(PathBuf::from(&list)));
        let mut out = Vec::new();
        let tally = run(&mut FakeVision, images, embeddings, &mut out).unwrap();
        let folder = format!("{}/", dir.path().display());
        (String::from_utf8(out).unwrap().replace(&folder, ""), tally)
    }

    #[test]
    fn the_format_is_stable() {
        let (lines, tally) = output(false);
        assert_eq!(tally, Tally { images: 5, failed: 3 });
        insta::assert_snapshot!(lines);
    }

    #[test]
    fn embeddings_come_on_request() {
        let (lines, _) = output(true);
        let first: serde_json::Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
        assert_eq!(first["faces"][1]["embedding"], serde_json::json!([0.0, 1.0, 0.0, 0.0]));
    }
}
