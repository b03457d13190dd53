//! The targets over the kept corpus: whatever a fuzzer once found stays found.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::*;

/// Most bytes of the corpus: it is a start for the fuzzer and a memory of faults, not an archive.
const MOST: usize = 500 << 10;

fn inputs(name: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn every_target_holds_over_its_corpus() {
    let mut size = 0;
    for Target { name, run } in TARGETS {
        let files = inputs(name);
        assert!(files.len() >= 8, "{name} has a corpus of {}", files.len());
        for file in files {
            let bytes = fs::read(&file).unwrap();
            size += bytes.len();
            let held = std::panic::catch_unwind(|| run(&bytes));
            assert!(held.is_ok(), "{name} breaks a rule over {}", file.display());
        }
    }
    assert!(size <= MOST, "the corpus has {size} bytes");
}

#[test]
fn every_corpus_has_its_target() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for entry in fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name();
        assert!(target(name.to_str().unwrap()).is_some(), "{}", name.display());
    }
}

/// Targets take any bytes, not only those that look like a seed.
#[test]
fn every_target_takes_nothing_and_noise() {
    for Target { run, .. } in TARGETS {
        for byte in 0..=u8::MAX {
            run(&[]);
            run(&[byte]);
            run(&[byte, b'\n', 0, 0xff, b'<', byte]);
        }
    }
}
