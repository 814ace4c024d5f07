//! The whole pipeline on real photographs.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod common;

use std::{collections::BTreeMap, fs, path::Path};

use cavs_models::{
    BoundingBox, DecodeLimits, FacePipeline, Image, ImportOptions, Pack, PipelineOptions, import,
};
use common::{options, pack, shared};

#[derive(serde::Deserialize)]
struct Listed {
    faces: Vec<ListedFace>,
}

#[derive(serde::Deserialize)]
struct ListedFace {
    box_xywh: [f32; 4],
    landmarks: [[f32; 2]; 5],
    score: f32,
}

fn load(path: &Path) -> Image {
    Image::decode(&fs::read(path).unwrap(), &DecodeLimits::default()).unwrap()
}

/// Faces that OpenCV's YuNet finds are found, and hardly any others.
#[test]
#[ignore = "measures networks and photographs of ../shared"]
fn the_same_faces_as_opencv() {
    let shared = shared();
    let folder = tempfile::tempdir().unwrap();
    let pack = pack(&shared, folder.path());
    let mut pipeline = FacePipeline::new(&pack, PipelineOptions::default()).unwrap();
    let listed = fs::read(shared.join("reference/yunet_faces.json")).unwrap();
    let listed: BTreeMap<String, Listed> = serde_json::from_slice(&listed).unwrap();
    let (mut wanted, mut found, mut total, mut extra, mut landmarks_off) = (0, 0, 0, 0, 0);
    for (name, Listed { faces }) in &listed {
        let ours = pipeline.analyze(&load(&shared.join(name))).unwrap();
        let overlap = |f: &ListedFace, b: &BoundingBox| {
            let [x, y, width, height] = f.box_xywh;
            BoundingBox { x, y, width, height }.intersection_over_union(b)
        };
        for face in faces.iter().filter(|f| f.score > 0.8) {
            wanted += 1;
            let best = ours
                .iter()
                .max_by(|a, b| overlap(face, &a.bounding_box).total_cmp(&overlap(face, &b.bounding_box)));
            let Some(best) = best.filter(|b| overlap(face, &b.bounding_box) >= 0.8) else {
                println!("missed in {name}: {:?}", face.box_xywh);
                continue;
            };
            found += 1;
            let off = face.landmarks.iter().zip(&best.landmarks).map(|(l, p)| (l[0] - p.x).hypot(l[1] - p.y));
            landmarks_off += usize::from(off.fold(0f32, f32::max) > 0.1 * face.box_xywh[2].max(10.0));
        }
        total += faces.len();
        for face in &ours {
            if !faces.iter().any(|f| overlap(f, &face.bounding_box) >= 0.5) {
                println!("extra in {name}: {:?} {}", face.bounding_box, face.score);
                extra += 1;
            }
        }
    }
    println!("{found} of {wanted} found, {extra} extra beside {total}, {landmarks_off} with landmarks off");
    assert!(found * 100 >= wanted * 99, "{found} of {wanted}");
    assert!(extra * 100 <= total, "{extra} extra beside {total}");
    assert!(landmarks_off * 50 <= wanted, "{landmarks_off} of {wanted}");
}

/// A detector that is said to be for small faces finds large ones from further away, and nobody twice.
#[test]
#[ignore = "measures networks and photographs of ../shared"]
fn large_faces_are_found_from_further_away() {
    let shared = shared();
    let folder = tempfile::tempdir().unwrap();
    let near = pack(&shared, folder.path());
    let out = folder.path().join("small-faces");
    import(&ImportOptions { largest_face: Some(100.0), ..options(&shared, out.clone()) }).unwrap();
    let mut pipelines = [near, Pack::open(&out).unwrap()]
        .map(|pack| FacePipeline::new(&pack, PipelineOptions::default()).unwrap());
    let (mut large, mut alike) = (0, 0);
    for entry in fs::read_dir(shared.join("images/people")).unwrap() {
        let image = load(&entry.unwrap().path());
        let [near, far] = pipelines.each_mut().map(|pipeline| pipeline.analyze(&image).unwrap());
        for face in &near {
            let size = face.bounding_box.long_side() * 640.0 / image.width().max(image.height()) as f32;
            if face.score > 0.8 && size > 110.0 {
                let same =
                    |f: &&cavs_models::Face| f.bounding_box.intersection_over_union(&face.bounding_box) > 0.6;
                large += 1;
                alike += usize::from(far.iter().filter(same).count() == 1);
            }
        }
    }
    println!("{alike} of {large} large faces");
    assert!(large > 20 && alike * 100 >= large * 95, "{alike} of {large}");
}

/// A pack says how large a picture has to be for its detector; who asks may say otherwise.
#[test]
#[ignore = "measures networks and photographs of ../shared"]
fn pictures_are_scaled_as_the_pack_says() {
    let shared = shared();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("small");
    import(&ImportOptions { detect_long_side: Some(160), ..options(&shared, out.clone()) }).unwrap();
    let packs = [pack(&shared, folder.path()), Pack::open(&out).unwrap()];
    let image = load(&shared.join("images/people/solvay1927.jpg"));
    let found = |pack: &Pack, detect_long_side| {
        let options = PipelineOptions { detect_long_side, ..PipelineOptions::default() };
        FacePipeline::new(pack, options).unwrap().analyze(&image).unwrap().len()
    };
    let [usual, small] = [640, 160].map(|side| found(&packs[0], Some(side)));
    assert!(small < usual, "{small} {usual}");
    assert_eq!(
        [found(&packs[0], None), found(&packs[1], None), found(&packs[1], Some(640))],
        [usual, small, usual]
    );
    let wrong = options(&shared, folder.path().join("wrong"));
    let error = import(&ImportOptions { detect_long_side: Some(8), ..wrong }).unwrap_err();
    assert!(error.to_string().contains("detect-long-side"), "{error}");
}

/// Large pictures are decoded at half their size where that is enough: the same faces, and the same
/// embeddings but for what a landmark that lies half a pixel of the detector's input elsewhere does
/// to a small face. Two photographs of a person have a similarity near 0.55.
#[test]
#[ignore = "measures networks and photographs of ../shared"]
fn half_a_picture_has_the_same_faces() {
    let shared = shared();
    let folder = tempfile::tempdir().unwrap();
    let pack = pack(&shared, folder.path());
    let options = PipelineOptions { detect_long_side: Some(320), ..PipelineOptions::default() };
    let limits = DecodeLimits::default();
    let (mut halved, mut similarities) = (0, vec![]);
    for entry in fs::read_dir(shared.join("images/people")).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        // Fresh ones: a pipeline remembers whether the last picture had to be decoded as a whole.
        let mut pipeline = FacePipeline::new(&pack, options).unwrap();
        let mut picture = pipeline.open(&bytes, &limits).unwrap();
        let found = pipeline.analyze_picture(&mut picture).unwrap();
        let image = Image::decode(&bytes, &limits).unwrap();
        assert_eq!((picture.width(), picture.height()), (image.width(), image.height()));
        let wanted = pipeline.analyze(&image).unwrap();
        halved += usize::from(image.width().max(image.height()) >= 640);
        for face in wanted.iter().filter(|f| f.score > 0.8) {
            let overlap = |f: &cavs_models::Face| f.bounding_box.intersection_over_union(&face.bounding_box);
            let best = found.iter().max_by(|a, b| overlap(a).total_cmp(&overlap(b)));
            let best = best.filter(|b| overlap(b) > 0.7).unwrap_or_else(|| panic!("{}", path.display()));
            let similarity = best.embedding.similarity(&face.embedding).unwrap().get();
            assert!(similarity > 0.7, "{}: {similarity}", path.display());
            similarities.push(similarity);
        }
    }
    let (faces, mean) = (similarities.len(), similarities.iter().sum::<f32>() / similarities.len() as f32);
    println!("{faces} faces in pictures of which {halved} were large: mean similarity {mean}");
    assert!(halved > 5 && faces > 20 && mean > 0.95, "{halved} {faces} {mean}");
}

/// Pictures of one person are alike, pictures of different people are not.
#[test]
#[ignore = "measures networks and photographs of ../shared"]
fn the_same_person_is_the_same_person() {
    let shared = shared();
    let folder = tempfile::tempdir().unwrap();
    let pack = pack(&shared, folder.path());
    // Well below the cautious threshold of a pack that was not calibrated.
    let accept = cavs_embedding::Similarity::clamped(0.4);
    let mut pipeline = FacePipeline::new(&pack, PipelineOptions::default()).unwrap();
    let mut people: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    let mut names: Vec<_> =
        fs::read_dir(shared.join("images/people")).unwrap().map(|e| e.unwrap().path()).collect();
    names.sort();
    for path in &names {
        let name = path.file_name().unwrap().to_str().unwrap();
        let groups = ["stock-emotions-a-", "stock-emotions-b-", "person-vlado"];
        let Some(person) = groups.into_iter().find(|g| name.starts_with(g)) else { continue };
        let faces = pipeline.analyze(&load(path)).unwrap();
        people.entry(person).or_default().extend(faces.into_iter().next().map(|f| f.embedding));
    }
    let (mut genuine, mut accepted) = (0, 0);
    for (person, embeddings) in &people {
        for (other, others) in &people {
            for (i, a) in embeddings.iter().enumerate() {
                for (j, b) in others.iter().enumerate() {
                    let similarity = a.similarity(b).unwrap();
                    if person != other {
                        assert!(similarity < accept, "{person} {i} is taken for {other} {j}: {similarity:?}");
                    } else if i < j {
                        genuine += 1;
                        accepted += usize::from(similarity >= accept);
                    }
                }
            }
        }
    }
    println!("{accepted} of {genuine} genuine pairs above the threshold");
    assert!(genuine > 50 && accepted * 20 >= genuine * 17, "{accepted} of {genuine}");
}

/// Cut out closely, a face is as large as the detector's input, which is more than a small one sees.
#[test]
#[ignore = "measures networks and photographs of ../shared"]
fn a_face_that_fills_the_picture_is_found() {
    let shared = shared();
    let pack = Pack::built_in().unwrap();
    let mut pipeline = FacePipeline::new(&pack, PipelineOptions::default()).unwrap();
    let (mut asked, mut found) = (0, 0);
    for file in fs::read_dir(shared.join("images/people")).unwrap() {
        let image = load(&file.unwrap().path());
        let Some(face) = pipeline.analyze(&image).unwrap().into_iter().next() else { continue };
        let close = image.crop_jpeg(face.bounding_box, 0.05, 640, 90).unwrap();
        let close = Image::decode(&close, &DecodeLimits::default()).unwrap();
        asked += 1;
        found += usize::from(!pipeline.analyze(&close).unwrap().is_empty());
    }
    println!("{found} of {asked} close faces");
    assert!(asked > 30 && found * 100 >= asked * 90, "{found} of {asked}");
}

#[test]
#[ignore = "measures networks and photographs of ../shared"]
fn a_picture_without_a_face_has_none() {
    let shared = shared();
    let folder = tempfile::tempdir().unwrap();
    let pack = pack(&shared, folder.path());
    let mut pipeline = FacePipeline::new(&pack, PipelineOptions::default()).unwrap();
    assert!(pipeline.analyze(&load(&shared.join("images/people/background.jpg"))).unwrap().is_empty());
    for (width, height) in [(1, 1), (1, 3000), (3000, 1), (33, 31)] {
        let image = Image::from_rgb8(width, height, vec![128; (width * height * 3) as usize]).unwrap();
        assert!(pipeline.analyze(&image).unwrap().is_empty());
    }
}

#[test]
fn a_pipeline_moves_between_threads() {
    fn is_send<T: Send>() {}
    is_send::<FacePipeline>();
}

#[test]
#[ignore = "measures networks and photographs of ../shared"]
fn senseless_options_are_named() {
    let shared = shared();
    let folder = tempfile::tempdir().unwrap();
    let pack = pack(&shared, folder.path());
    let wrong = [
        PipelineOptions { detect_long_side: Some(0), ..PipelineOptions::default() },
        PipelineOptions { min_score: f32::NAN, ..PipelineOptions::default() },
        PipelineOptions { threads: 0, ..PipelineOptions::default() },
    ];
    for options in wrong {
        let error = FacePipeline::new(&pack, options).err().unwrap();
        assert_eq!(error.reason(), "VISION_OPTION_INVALID");
    }
}
