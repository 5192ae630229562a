//! Every target on its corpus: what was found once, and what is usual.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use fuzz::TARGETS;

/// A file that was found belongs here when it is small; what is larger belongs into a test of its own.
const MOST_BYTES: u64 = 16 * 1024;

#[test]
fn every_target_takes_its_corpus() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut folders: BTreeSet<_> = fs::read_dir(&corpus)
        .unwrap()
        .map(|folder| folder.unwrap().file_name().into_string().unwrap())
        .collect();
    for (name, target) in TARGETS {
        assert!(folders.remove(name), "{name} has no corpus");
        let files = fs::read_dir(corpus.join(name)).unwrap().map(|file| file.unwrap());
        let mut count = 0;
        for file in files {
            assert!(file.metadata().unwrap().len() <= MOST_BYTES, "{file:?} is large");
            let data = fs::read(file.path()).unwrap();
            // Named before it is tried, so that a failure says where.
            println!("{}", file.path().display());
            target(&data);
            count += 1;
        }
        assert!(count > 0, "{name} has an empty corpus");
    }
    assert_eq!(folders, BTreeSet::new(), "folders that are no target's");
}

/// Bytes of no meaning: a fuzzer's beginning, from a seed.
#[test]
fn every_target_takes_noise() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for round in 0..100 {
        let mut noise = vec![0_u8; round * 8];
        for byte in &mut noise {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *byte = state.to_be_bytes()[0];
        }
        for (_, target) in TARGETS {
            target(&noise);
        }
    }
}
