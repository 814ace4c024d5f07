use std::{
    collections::BTreeMap,
    fs,
    ops::{Deref, DerefMut},
    path::{Path, PathBuf},
};

use cavs_models::{BoundingBox, DetectorSource, Image, ImportOptions, Precision, import};
use tempfile::TempDir;

use crate::{Site, SiteOptions};

/// The folder of real weights and photographs beside the checkout. It is no part of the project.
#[derive(Debug, Clone)]
pub struct SharedData(PathBuf);

impl SharedData {
    /// The folder, where it is.
    #[must_use]
    pub fn locate() -> Option<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
        folder.join("models/yunet_n_dynamic.onnx").is_file().then_some(Self(folder))
    }

    /// `None`, with the reason printed, where the folder is missing: the test can't say anything
    /// then. `scripts/test` counts these lines.
    #[must_use]
    pub fn find() -> Option<Self> {
        let found = Self::locate();
        if found.is_none() {
            eprintln!("SKIPPED: no networks and photographs in ../shared");
        }
        found
    }

    /// Imports YuNet and MobileFaceNet into a pack.
    ///
    /// # Panics
    /// They can't be imported.
    pub fn import_pack(&self, out: &Path) {
        let options = ImportOptions {
            detector: DetectorSource::Yunet(self.path("models/yunet_n_dynamic.onnx")),
            largest_face: None,
            detect_long_side: None,
            embedder: self.path("models/mobilefacenet_y1.onnx"),
            liveness: Vec::new(),
            name: "yunet-mobilefacenet".into(),
            version: "1".into(),
            license: "weights for non-commercial use".into(),
            source: "libfacedetection.train and insightface".into(),
            calibration: None,
            precision: Precision::Single,
            out: out.to_owned(),
        };
        import(&options).unwrap();
    }

    /// A file or folder in it.
    #[must_use]
    pub fn path(&self, inside: &str) -> PathBuf {
        self.0.join(inside)
    }
}

/// A site of a test, with the real networks: gone when dropped.
pub struct TestSite {
    site: Site,
    /// Real weights and photographs.
    pub shared: SharedData,
    _directory: TempDir,
}

impl TestSite {
    /// Starts a site; `None` where the data of [`SharedData`] is missing.
    #[must_use]
    pub fn start() -> Option<Self> {
        Self::start_with(&SiteOptions::default())
    }

    /// As [`Self::start`], configured further.
    ///
    /// # Panics
    /// Anything fails.
    #[must_use]
    pub fn start_with(options: &SiteOptions) -> Option<Self> {
        let shared = SharedData::find()?;
        let directory = tempfile::tempdir().unwrap();
        let pack = directory.path().join("pack");
        shared.import_pack(&pack);
        Some(Self {
            site: Site::create(directory.path(), Some(&pack), options),
            shared,
            _directory: directory,
        })
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

/// Somebody of whom there are several photographs.
#[derive(Debug)]
pub struct Person {
    /// What their file names begin with.
    pub name: &'static str,
    /// Their photographs, in name order.
    pub photographs: Vec<PathBuf>,
}

/// The people of `images/people` with several photographs, and the pictures of everybody else.
/// (Each `cgi-multiangle` picture shows a character of its own from several sides.)
#[must_use]
pub fn people(shared: &SharedData) -> (Vec<Person>, Vec<PathBuf>) {
    let named = ["person-vlado", "stock-emotions-a-", "stock-emotions-b-"];
    let mut found: BTreeMap<&'static str, Vec<PathBuf>> = BTreeMap::new();
    let mut others = Vec::new();
    let mut files: Vec<PathBuf> =
        fs::read_dir(shared.path("images/people")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let crowds = ["group", "stock-group", "solvay", "background"];
        match named.iter().find(|prefix| name.starts_with(**prefix)) {
            Some(prefix) => found.entry(prefix).or_default().push(file),
            None if crowds.iter().any(|prefix| name.starts_with(prefix)) => {}
            None => others.push(file),
        }
    }
    (found.into_iter().map(|(name, photographs)| Person { name, photographs }).collect(), others)
}

/// A small grey JPEG: a good picture of nobody.
#[must_use]
pub fn jpeg_without_face() -> Vec<u8> {
    let image = Image::from_rgb8(320, 240, vec![128; 320 * 240 * 3]).unwrap();
    let whole = BoundingBox { x: 0.0, y: 0.0, width: 320.0, height: 240.0 };
    image.crop_jpeg(whole, 0.0, 320, 90).unwrap()
}
