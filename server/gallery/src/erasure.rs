//! A test of what must not be: an erased face in this process's memory.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    time::Duration,
};

use cavs_embedding::UnitEmbedding;

use crate::{
    Change, GalleryMode, Options, StudentKey, Template, TemplateId,
    code::{Code, Lane},
    graph::Graph,
    open,
};

const DIMENSION: usize = 128;

fn face(seed: u32) -> UnitEmbedding {
    let component = |i: u32| (f64::from(seed * 1009 + i * i + 17 * i) * 0.618).sin() as f32;
    UnitEmbedding::normalize((0..DIMENSION as u32).map(component).collect()).unwrap()
}

/// Inverted, so that the needle is not found where it is kept.
fn inverted(lanes: &[Lane]) -> Vec<u8> {
    lanes[0].0.iter().map(|byte| !(*byte as u8)).collect()
}

/// How often a lane is found in writable memory.
fn count(needle: &[u8], buffer: &mut [u8]) -> usize {
    let memory = File::open("/proc/self/mem").unwrap();
    let mut found = 0;
    for line in fs::read_to_string("/proc/self/maps").unwrap().lines().filter(|line| line.contains(" rw")) {
        let (start, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let [start, end] = [start, end].map(|hex| u64::from_str_radix(hex, 16).unwrap());
        for at in (start..end).step_by(buffer.len()) {
            let wanted = buffer.len().min((end - at) as usize);
            // What another thread unmaps meanwhile is gone in any case.
            let read = memory.read_at(&mut buffer[..wanted], at).unwrap_or(0);
            // Lanes are aligned, so none crosses the buffer's end.
            let (blocks, _) = buffer[..read].as_chunks::<{ Lane::WIDTH }>();
            found += blocks.iter().filter(|block| block.iter().zip(needle).all(|(b, n)| *b == !*n)).count();
        }
        buffer.fill(0);
    }
    found
}

#[test]
fn an_erased_face_is_gone_from_memory() {
    let needles = {
        let code = Code::new(&face(7));
        let graph = Graph::new(DIMENSION, 1);
        [inverted(&code.high), inverted(&code.low), inverted(&graph.encode_code(code.as_ref()))]
    };
    let mut buffer = vec![0; 1 << 16];
    let mut found = || needles.each_ref().map(|needle| count(needle, &mut buffer));
    let gallery =
        open(GalleryMode::Auto, DIMENSION, Options { crossover: Some(1), ..Options::default() }).unwrap();
    let template =
        |n: u32| Template { id: TemplateId(n.into()), student: StudentKey(n.into()), embedding: face(n) };
    gallery.apply(&Change { insert: (0..40).map(template).collect(), ..Change::default() }).unwrap();
    assert!(gallery.wait_idle(Duration::from_secs(60)));
    assert_eq!(found(), [1, 1, 1], "the test finds what is there");

    let builds = gallery.stats().graph.unwrap().builds;
    gallery.apply(&Change { remove_students: vec![StudentKey(7)], ..Change::default() }).unwrap();
    assert_eq!(found(), [0, 0, 0], "store and graph forget at once");
    assert!(gallery.wait_idle(Duration::from_secs(60)));
    assert_eq!(gallery.stats().graph.unwrap().builds, builds, "one removal has no graph built anew");
}
