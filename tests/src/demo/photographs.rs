use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use cavs_models::{DetectorSource, ImportOptions, Precision, import};

/// The folder of real weights and photographs beside the checkout. It is no part of the project: what is
/// played from it is a measurement, and no test needs it.
#[derive(Debug, Clone)]
pub struct SharedData(PathBuf);

impl SharedData {
    /// The folder, where it is.
    #[must_use]
    pub fn locate() -> Option<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
        folder.join("models/yunet_n_dynamic.onnx").is_file().then_some(Self(folder))
    }

    /// Imports YuNet and MobileFaceNet into a pack.
    pub fn import_pack(&self, out: &Path) {
        let options = ImportOptions {
            detector: DetectorSource::Yunet(self.path("models/yunet_n_dynamic.onnx")),
            largest_face: None,
            detect_long_side: None,
            refiner: None,
            embedder: self.path("models/mobilefacenet_y1.onnx"),
            embedder_color: cavs_models::ColorOrder::Rgb,
            liveness: Vec::new(),
            name: "yunet-mobilefacenet".into(),
            version: "1".into(),
            license: "weights for non-commercial use".into(),
            source: "libfacedetection.train and insightface".into(),
            calibration: None,
            calibrate: None,
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

/// The portraits of `images/people`, each with a number for the person.
#[must_use]
pub fn portraits(shared: &SharedData) -> Vec<(usize, PathBuf)> {
    let (several, others) = people(shared);
    let several = several.into_iter().map(|person| person.photographs);
    let people = several.chain(others.into_iter().map(|photograph| vec![photograph]));
    people.enumerate().flat_map(|(person, all)| all.into_iter().map(move |file| (person, file))).collect()
}

/// Somebody of whom there are several photographs.
#[derive(Debug)]
pub(super) struct Person {
    /// What their file names begin with.
    pub(super) name: &'static str,
    /// Their photographs, in name order.
    pub(super) photographs: Vec<PathBuf>,
}

/// The people of `images/people` with several photographs, and the pictures of everybody else.
/// (Each `cgi-multiangle` picture shows a character of its own from several sides.)
pub(super) fn people(shared: &SharedData) -> (Vec<Person>, Vec<PathBuf>) {
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
