//! Which images there are.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::error::CliError;

/// What the server takes of an image.
const MAX_IMAGE_BYTES: u64 = 16 * 1024 * 1024;
/// What folders are searched for. A file that is named itself is sent whatever its name is.
const EXTENSIONS: [&str; 4] = ["jpg", "jpeg", "png", "webp"];

/// A folder of images of one student.
pub(crate) struct StudentFolder {
    /// The student's number: the folder's name.
    pub(crate) number: String,
    pub(crate) path: PathBuf,
    /// In order of their names; may be empty.
    pub(crate) images: Vec<PathBuf>,
}

/// The files given, and the images of the folders given, in order.
pub(crate) fn find_images(paths: &[PathBuf]) -> Result<Vec<PathBuf>, CliError> {
    let mut images = Vec::new();
    for path in paths {
        if metadata(path)?.is_dir() {
            let found = images_in(path)?;
            if found.is_empty() {
                return Err(no_images(path));
            }
            images.extend(found);
        } else {
            images.push(path.clone());
        }
    }
    Ok(images)
}

/// The folders of students in a folder, in order of their names.
pub(crate) fn find_folders(dir: &Path) -> Result<Vec<StudentFolder>, CliError> {
    let mut folders = Vec::new();
    for path in entries(dir)? {
        if !metadata(&path)?.is_dir() {
            continue;
        }
        let Some(number) = path.file_name().and_then(|name| name.to_str()) else {
            return Err(CliError::failure(
                "FOLDER_NAME",
                format!("{}: the folder's name is no UTF-8, so it is no student's number", path.display()),
            ));
        };
        folders.push(StudentFolder { number: number.to_owned(), images: images_in(&path)?, path });
    }
    if folders.is_empty() {
        return Err(CliError::NotFound {
            reason: "NO_FOLDERS",
            message: format!(
                "{}: holds no folders; expected one per student, named by number",
                dir.display()
            ),
        });
    }
    Ok(folders)
}

/// Why a folder is of no use.
pub(crate) fn no_images(dir: &Path) -> CliError {
    CliError::NotFound {
        reason: "NO_IMAGES",
        message: format!("{}: holds no images (jpg, jpeg, png, webp)", dir.display()),
    }
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
        return Err(("IMAGE_TOO_LARGE", "is larger than 16 MiB".to_owned()));
    }
    if data.is_empty() {
        return Err(("IMAGE_EMPTY", "is empty".to_owned()));
    }
    Ok(data)
}

fn images_in(dir: &Path) -> Result<Vec<PathBuf>, CliError> {
    let is_image = |path: &PathBuf| {
        let extension = path.extension().and_then(|extension| extension.to_str());
        extension
            .is_some_and(|extension| EXTENSIONS.iter().any(|known| extension.eq_ignore_ascii_case(known)))
    };
    Ok(entries(dir)?.into_iter().filter(is_image).collect())
}

/// What is in a folder, in order of names, without what is hidden.
fn entries(dir: &Path) -> Result<Vec<PathBuf>, CliError> {
    let failed = |error| CliError::file(dir, error);
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
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
        let dir = tree(&["b.JPG", "a.png", "c.webp", "notes.txt", ".hidden.jpg", "deeper/d.jpg"]);
        let found = find_images(&[dir.path().join("notes.txt"), dir.path().to_owned()]).unwrap();
        let names: Vec<_> = found.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["notes.txt", "a.png", "b.JPG", "c.webp"]);
    }

    #[test]
    fn what_is_not_there_is_named() {
        let dir = tree(&["empty/notes.txt"]);
        let error = find_images(&[dir.path().join("empty")]).unwrap_err();
        assert!(error.to_string().ends_with("empty: holds no images (jpg, jpeg, png, webp)"), "{error}");
        let error = find_images(&[dir.path().join("none.jpg")]).unwrap_err();
        assert_eq!(error.exit(), Exit::NotFound);
        assert!(error.to_string().contains("none.jpg: No such file"), "{error}");
        assert_eq!(find_folders(&dir.path().join("empty")).err().unwrap().exit(), Exit::NotFound);
    }

    #[test]
    fn students_folders_are_named_by_number() {
        let dir =
            tree(&["1002/a.jpg", "1001/b.jpg", "1001/a.jpg", "1003/none.txt", "readme.txt", ".git/x.jpg"]);
        let folders = find_folders(dir.path()).unwrap();
        let counts: Vec<_> = folders.iter().map(|f| (f.number.as_str(), f.images.len())).collect();
        assert_eq!(counts, [("1001", 2), ("1002", 1), ("1003", 0)]);
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
