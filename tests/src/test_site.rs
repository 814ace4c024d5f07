use std::{
    fs,
    ops::{Deref, DerefMut},
    path::{Path, PathBuf},
};

use cavs_models::{BoundingBox, Image};
use tempfile::TempDir;

use crate::{RENDERED_FACES, Site, SiteOptions};

/// A site of a test, with the built-in pack and thresholds for rendered faces: gone when dropped.
pub struct TestSite {
    site: Site,
    _directory: TempDir,
}

impl TestSite {
    /// Starts a site.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&SiteOptions::for_rendered_faces())
    }

    /// As [`Self::start`], configured by the options alone.
    #[must_use]
    pub fn start_with(options: &SiteOptions) -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { site: Site::create(directory.path(), None, options), _directory: directory }
    }

    /// A site whose pack lies in its folder `pack`, as an imported one does.
    #[must_use]
    pub fn start_with_pack_folder() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let pack = directory.path().join("pack");
        copy_built_in_pack(&pack);
        let site = Site::create(directory.path(), Some(&pack), &SiteOptions::for_rendered_faces());
        Self { site, _directory: directory }
    }
}

impl SiteOptions {
    /// A private database, and thresholds for rendered faces.
    #[must_use]
    pub fn for_rendered_faces() -> Self {
        Self { server_toml: RENDERED_FACES.to_owned(), ..Self::default() }
    }
}

impl Deref for TestSite {
    type Target = Site;

    fn deref(&self) -> &Site {
        &self.site
    }
}

impl DerefMut for TestSite {
    fn deref_mut(&mut self) -> &mut Site {
        &mut self.site
    }
}

/// Writes the built-in networks as the pack of somebody else: under another name, and so with another digest.
fn copy_built_in_pack(out: &Path) {
    let packs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/packs");
    let mut folders = fs::read_dir(packs).unwrap().map(|entry| entry.unwrap().path());
    let built_in: PathBuf = folders.find(|path| path.join("pack.toml").is_file()).unwrap();
    fs::create_dir(out).unwrap();
    for file in fs::read_dir(built_in).unwrap().map(|entry| entry.unwrap()) {
        fs::copy(file.path(), out.join(file.file_name())).unwrap();
    }
    let manifest = fs::read_to_string(out.join("pack.toml")).unwrap();
    let (before, after) = manifest.split_once("name = \"").unwrap();
    fs::write(out.join("pack.toml"), format!("{before}name = \"copy-of-{after}")).unwrap();
}

/// A small grey JPEG: a good picture of nobody.
#[must_use]
pub fn jpeg_without_face() -> Vec<u8> {
    let image = Image::from_rgb8(320, 240, vec![128; 320 * 240 * 3]).unwrap();
    let whole = BoundingBox { x: 0.0, y: 0.0, width: 320.0, height: 240.0 };
    image.crop_jpeg(whole, 0.0, 320, 90).unwrap()
}
