//! The crash points. A crash point acts on the whole process, so each test runs again in one of its own.

use std::{
    env,
    path::PathBuf,
    process::{Command, ExitStatus},
};

use super::{keys, open, put};
use crate::metadata::{MetadataError, MetadataStore};

const FOLDER: &str = "CLOUDSERVER_TEST_CRASH_FOLDER";

/// In the parent: runs the named test again with these crash points and returns how it ended. In the child: `None`.
fn rerun(name: &str, folder: &tempfile::TempDir, points: &str) -> Option<ExitStatus> {
    if env::var_os(FOLDER).is_some() {
        return None;
    }
    let mut child = Command::new(env::current_exe().unwrap());
    child.args(["--exact", &format!("metadata::rocksdb::tests::crash::{name}"), "--nocapture"]);
    child.env(FOLDER, folder.path()).env("FAILPOINTS", points);
    Some(child.output().unwrap().status)
}

/// In the child: two commits, the second under the crash point.
fn commit_twice() -> (Result<(), MetadataError>, Result<(), MetadataError>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let store = open(&PathBuf::from(env::var_os(FOLDER).unwrap()));
        let first = store.commit(put("first", "value")).await;
        let _points = fail::FailScenario::setup();
        let second = store.commit(put("second", "value")).await;
        assert!(matches!(store.commit(put("third", "value")).await, Err(MetadataError::ReadOnly)));
        assert!(!store.is_writable());
        assert_eq!(keys(&store).await, ["first"], "reads go on");
        (first, second)
    })
}

fn found(folder: &tempfile::TempDir) -> Vec<bytes::Bytes> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async { keys(&open(folder.path())).await })
}

#[test]
fn a_crash_before_the_log_loses_the_commit_alone() {
    let folder = tempfile::tempdir().unwrap();
    let name = "a_crash_before_the_log_loses_the_commit_alone";
    let Some(status) = rerun(name, &folder, "metadata-before-wal=return") else {
        commit_twice().1.unwrap();
        return;
    };
    assert!(!status.success());
    assert_eq!(found(&folder), ["first"]);
}

#[test]
fn a_crash_before_the_answer_keeps_the_commit() {
    let folder = tempfile::tempdir().unwrap();
    let Some(status) = rerun("a_crash_before_the_answer_keeps_the_commit", &folder, "metadata-before-reply=return")
    else {
        commit_twice().1.unwrap();
        return;
    };
    assert!(!status.success());
    assert_eq!(found(&folder), ["first", "second"]);
}

#[test]
fn a_failed_log_makes_the_store_read_only() {
    let folder = tempfile::tempdir().unwrap();
    let Some(status) = rerun("a_failed_log_makes_the_store_read_only", &folder, "metadata-wal-fails=return") else {
        let (first, second) = commit_twice();
        first.unwrap();
        assert!(matches!(second, Err(MetadataError::Io(_))), "{second:?}");
        return;
    };
    assert!(status.success());
    assert_eq!(found(&folder), ["first"], "a restart makes it writable again");
}
