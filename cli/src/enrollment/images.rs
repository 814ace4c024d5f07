//! Which images there are.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use cavs_models::UnreadFormat;

use crate::error::CliError;

/// What the server takes of an image.
const MAX_IMAGE_BYTES: u64 = 64 * 1024 * 1024;
/// What folders are searched for. A file that is named itself is sent whatever its name is.
const EXTENSIONS: [&str; 13] =
    ["jpg", "jpeg", "jfif", "png", "webp", "heic", "heif", "hif", "avif", "bmp", "gif", "tif", "tiff"];
/// What operating systems put into folders of pictures.
const SYSTEM_FILES: [&str; 3] = ["thumbs.db", "desktop.ini", "icon\r"];

/// What was found in files and folders that were named.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// In order.
    pub(crate) images: Vec<PathBuf>,
    /// Files of folders that are not tried, in order.
    pub(crate) left_out: Vec<LeftOut>,
}

/// A file of a folder that is not tried, though somebody put it there to be enrolled.
#[derive(Debug)]
pub(crate) struct LeftOut {
    pub(crate) path: PathBuf,
    /// Stable, as verdicts have it.
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

/// A folder of images of one student.
pub(crate) struct StudentFolder {
    /// The student's number: the folder's name.
    pub(crate) number: String,
    pub(crate) path: PathBuf,
    pub(crate) found: Found,
}

/// The files given, and the images of the folders given, in order.
pub(crate) fn find_images(paths: &[PathBuf]) -> Result<Found, CliError> {
    let mut all = Found::default();
    for path in paths {
        if metadata(path)?.is_dir() {
            let found = images_in(path)?;
            if found.images.is_empty() {
                return Err(no_images(path, &found.left_out));
            }
            all.images.extend(found.images);
            all.left_out.extend(found.left_out);
        } else {
            all.images.push(path.clone());
        }
    }
    Ok(all)
}

/// Photographs of many students.
#[derive(Default)]
pub(crate) struct Photographs {
    /// Folders named by the students' numbers, in their order.
    pub(crate) folders: Vec<StudentFolder>,
    /// Pictures beside them, which are named by the students' numbers themselves.
    pub(crate) named: Vec<PathBuf>,
    /// What lies beside them and is not tried.
    pub(crate) left_out: Vec<LeftOut>,
}

/// The photographs of students in a folder: folders, and pictures beside them.
pub(crate) fn find_photographs(dir: &Path) -> Result<Photographs, CliError> {
    let mut found = Photographs::default();
    for path in entries(dir)? {
        if !metadata(&path)?.is_dir() {
            // A list of the students is no picture that somebody misses.
            if is_image(&path) {
                found.named.push(path);
            } else if let Some(format) = unread_format(&path) {
                found.left_out.push(LeftOut::unread(path, format));
            }
            continue;
        }
        let Some(number) = path.file_name().and_then(|name| name.to_str()) else {
            return Err(CliError::failure(
                "FOLDER_NAME",
                format!("{}: the folder's name is no UTF-8, so it is no student's number", path.display()),
            ));
        };
        if number != "__MACOSX" {
            found.folders.push(StudentFolder { number: number.to_owned(), found: images_in(&path)?, path });
        }
    }
    if found.folders.is_empty() && found.named.is_empty() {
        return Err(CliError::NotFound {
            reason: "NO_PHOTOGRAPHS",
            message: format!(
                "{}: holds neither folders nor images; expected one folder for each student, or images, named by number",
                dir.display()
            ),
        });
    }
    Ok(found)
}

/// The numbers that a picture's name may say, the likeliest first: all of it, or without what tells several pictures of
/// one student apart (`17-2.jpg`, `17_b.jpg`, `17 (3).jpg`).
pub(crate) fn numbers_of(path: &Path) -> Vec<String> {
    let Some(stem) = path.file_stem().and_then(|stem| stem.to_str()) else { return Vec::new() };
    let mut numbers = vec![stem.to_owned()];
    let trimmed = stem.trim_end_matches(')');
    if let Some((number, which)) = trimmed.rsplit_once([' ', '-', '_', '('])
        && (1..=3).contains(&which.chars().count())
        && which.chars().all(char::is_alphanumeric)
    {
        let number = number.trim_end_matches([' ', '-', '_', '(']);
        if !number.is_empty() {
            numbers.push(number.to_owned());
        }
    }
    numbers
}

/// Why a folder is of no use.
pub(crate) fn no_images(dir: &Path, left_out: &[LeftOut]) -> CliError {
    let mut message = format!("{}: holds no images ({})", dir.display(), EXTENSIONS.join(", "));
    if let [first, others @ ..] = left_out {
        let name = first.path.file_name().unwrap_or_default().to_string_lossy();
        message.push_str(&format!("; {name} {}", first.message));
        if !others.is_empty() {
            message.push_str(&format!("; {} more files were left out", others.len()));
        }
    }
    CliError::NotFound { reason: "NO_IMAGES", message }
}

/// Reads an image; says why not with a reason as verdicts have it.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, (&'static str, String)> {
    use io::Read;
    let unreadable = |error: io::Error| ("IMAGE_UNREADABLE", error.to_string());
    // Asked before it is opened: opening a pipe waits for its other end.
    if !fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(("IMAGE_UNREADABLE", "is no file".to_owned()));
    }
    let file = fs::File::open(path).map_err(unreadable)?;
    let mut data = Vec::new();
    file.take(MAX_IMAGE_BYTES + 1).read_to_end(&mut data).map_err(unreadable)?;
    if data.len() as u64 > MAX_IMAGE_BYTES {
        return Err(("IMAGE_TOO_LARGE", "is larger than 64 MiB".to_owned()));
    }
    if data.is_empty() {
        return Err(("IMAGE_EMPTY", "is empty".to_owned()));
    }
    Ok(data)
}

fn images_in(dir: &Path) -> Result<Found, CliError> {
    let mut found = Found::default();
    for path in entries(dir)? {
        if metadata(&path).is_ok_and(|metadata| metadata.is_dir()) {
            let message = "is a folder, and folders in a student's folder are not searched".to_owned();
            found.left_out.push(LeftOut { path, reason: "FILE_LEFT_OUT", message });
        } else if is_image(&path) {
            found.images.push(path);
        } else if let Some(format) = unread_format(&path) {
            found.left_out.push(LeftOut::unread(path, format));
        } else {
            let message = format!("is not named as an image ({})", EXTENSIONS.join(", "));
            found.left_out.push(LeftOut { path, reason: "FILE_LEFT_OUT", message });
        }
    }
    Ok(found)
}

impl LeftOut {
    fn unread(path: PathBuf, format: UnreadFormat) -> Self {
        Self { path, reason: "IMAGE_FORMAT_UNSUPPORTED", message: format!("is {format}") }
    }
}

fn extension(path: &Path) -> Option<String> {
    path.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase)
}

/// Whether a file is a picture by its name, if only of a kind that is not read.
pub(super) fn is_photograph(path: &Path) -> bool {
    is_image(path) || unread_format(path).is_some()
}

fn is_image(path: &Path) -> bool {
    extension(path).is_some_and(|extension| EXTENSIONS.contains(&extension.as_str()))
}

/// The kind of picture that a file is by its name, where the server does not read that kind.
fn unread_format(path: &Path) -> Option<UnreadFormat> {
    Some(match extension(path)?.as_str() {
        "dng" | "cr2" | "cr3" | "nef" | "arw" | "orf" | "raf" | "rw2" => UnreadFormat::Tiff,
        "jxl" => UnreadFormat::JpegXl,
        "jp2" | "j2k" | "jpx" => UnreadFormat::Jpeg2000,
        "pdf" => UnreadFormat::Pdf,
        "mov" | "mp4" | "m4v" => UnreadFormat::Film,
        _ => return None,
    })
}

/// What is in a folder, in order of names, without what is hidden and what systems put there.
fn entries(dir: &Path) -> Result<Vec<PathBuf>, CliError> {
    let failed = |error| CliError::file(dir, error);
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let is_nobodys = SYSTEM_FILES.contains(&name.to_string_lossy().to_lowercase().as_str());
        if !is_nobodys && !name.as_encoded_bytes().starts_with(b".") {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

fn metadata(path: &Path) -> Result<fs::Metadata, CliError> {
    fs::metadata(path).map_err(|error| CliError::file(path, error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        dir
    }

    #[test]
    fn folders_give_their_images_in_order() {
        let files = ["b.JPG", "a.png", "c.webp", "e.jfif", "notes.txt", ".hidden.jpg", "deeper/d.jpg"];
        let dir = tree(&[files.as_slice(), &["f.JXL", "g.mov", "Thumbs.db", "desktop.ini"]].concat());
        let found = find_images(&[dir.path().join("notes.txt"), dir.path().to_owned()]).unwrap();
        let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
        let names: Vec<_> = found.images.iter().map(|path| name(path)).collect();
        assert_eq!(names, ["notes.txt", "a.png", "b.JPG", "c.webp", "e.jfif"]);
        let left_out: Vec<_> = found.left_out.iter().map(|file| (name(&file.path), file.reason)).collect();
        let expected = [
            ("deeper", "FILE_LEFT_OUT"),
            ("f.JXL", "IMAGE_FORMAT_UNSUPPORTED"),
            ("g.mov", "IMAGE_FORMAT_UNSUPPORTED"),
            ("notes.txt", "FILE_LEFT_OUT"),
        ];
        assert_eq!(left_out, expected.map(|(name, reason)| (name.to_owned(), reason)));
        assert!(found.left_out[1].message.contains("JPEG XL"), "{found:?}");
        assert!(found.left_out[2].message.contains("a film"), "{found:?}");
    }

    #[test]
    fn what_is_not_there_is_named() {
        let dir = tree(&["empty/.hidden", "telephone/1.jxl", "telephone/2.jxl"]);
        let error = find_images(&[dir.path().join("empty")]).unwrap_err();
        assert!(error.to_string().contains("empty: holds no images (jpg, jpeg, "), "{error}");
        let error = find_images(&[dir.path().join("telephone")]).unwrap_err().to_string();
        assert!(
            error.contains("1.jxl is a JPEG XL picture") && error.ends_with("1 more files were left out"),
            "{error}"
        );
        let error = find_images(&[dir.path().join("none.jpg")]).unwrap_err();
        assert_eq!(error.exit(), Exit::NotFound);
        assert!(error.to_string().contains("none.jpg: No such file"), "{error}");
        assert_eq!(find_photographs(&dir.path().join("empty")).err().unwrap().exit(), Exit::NotFound);
    }

    #[test]
    fn students_folders_are_named_by_number() {
        let dir =
            tree(&["1002/a.jpg", "1001/b.jpg", "1001/a.jpg", "1003/none.txt", "readme.txt", ".git/x.jpg"]);
        fs::write(dir.path().join("1004.jpg"), "x").unwrap();
        let Photographs { folders, named, left_out } = find_photographs(dir.path()).unwrap();
        let counts: Vec<_> = folders.iter().map(|f| (f.number.as_str(), f.found.images.len())).collect();
        assert_eq!(counts, [("1001", 2), ("1002", 1), ("1003", 0)]);
        assert_eq!(folders[2].found.left_out.len(), 1);
        assert!(named.len() == 1 && named[0].ends_with("1004.jpg") && left_out.is_empty(), "{named:?}");
    }

    #[test]
    fn pictures_may_be_named_by_numbers() {
        let numbers = |name: &str| numbers_of(Path::new(name));
        assert_eq!(numbers("school/1001.jpg"), ["1001"]);
        assert_eq!(numbers("1001-2.jpg"), ["1001-2", "1001"]);
        assert_eq!(numbers("A-17_b.jpg"), ["A-17_b", "A-17"]);
        assert_eq!(numbers("1001 (3).jpg"), ["1001 (3)", "1001"]);
        assert_eq!(numbers("2026-1001.jpg"), ["2026-1001"]);
        assert_eq!(numbers("-1.jpg"), ["-1"]);
    }

    #[test]
    fn images_that_can_not_be_sent_have_a_reason() {
        let dir = tree(&[]);
        let path = dir.path().join("a.jpg");
        assert_eq!(read(&path).unwrap_err().0, "IMAGE_UNREADABLE");
        assert_eq!(read(Path::new("/dev/zero")).unwrap_err().1, "is no file");
        fs::write(&path, "").unwrap();
        assert_eq!(read(&path).unwrap_err().0, "IMAGE_EMPTY");
        fs::File::create(&path).unwrap().set_len(MAX_IMAGE_BYTES + 1).unwrap();
        assert_eq!(read(&path).unwrap_err().0, "IMAGE_TOO_LARGE");
    }
}
