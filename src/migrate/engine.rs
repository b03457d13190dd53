//! A run: bucket by bucket, keys in parallel, the journal behind them.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use futures_util::{StreamExt, stream};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc};

use super::{
    MigrateError, Options, Pairing, Problem, Progress, Shared, Verify,
    acl::{self, Accounts},
    bucket,
    copy::Place,
    headers,
    journal::{BucketState, Journal, JournalError, Past},
    key::{self, Outcome, PATIENCE},
    listing::{self, Group, Walk},
    report::{BucketReport, Report},
    uploads, verify,
};
use crate::{s3client::S3ClientError, tasks::Tasks};

/// Keys between two checkpoints.
const CHECKPOINT: u64 = 256;
/// Keys read ahead.
const AHEAD: usize = 64;
/// Keys in a row that are given up after many tries before the run is: nothing goes through then.
const IN_A_ROW: u32 = 32;
/// Keys done behind one that is still under way, at most: they are held until it is done.
const WAITING: usize = 1 << 15;

/// Copies what the options say.
///
/// # Errors
/// [`MigrateError`] where the run cannot go on. All that was copied is in the journal: the next run goes on there.
///
/// # Cancel safety
/// As a kill: the next run goes on.
pub async fn run(options: Options, progress: Arc<Progress>) -> Result<Report, MigrateError> {
    // A target that shows what it has not yet must not show it to us.
    let to = options.to.clone().with_header(headers::HERE_ONLY, "true");
    let options = Options { to, ..options };
    let pairs = pairs(&options).await?;
    let tasks = Tasks::default();
    let report = if options.verify_only {
        count_ahead(&options, &progress, (&pairs, &Past::new()), &tasks);
        compare(&options, &pairs, &progress).await?
    } else {
        copy(options, pairs, progress, &tasks).await?
    };
    Ok(report)
}

async fn compare(options: &Options, pairs: &[Pairing], progress: &Progress) -> Result<Report, MigrateError> {
    let mut report = Report::default();
    for pair in pairs {
        let mut bucket = begin(pair);
        verify::bucket(options, pair, progress, &mut bucket).await?;
        report.buckets.push(bucket);
    }
    Ok(report)
}

async fn copy(
    options: Options,
    pairs: Vec<Pairing>,
    progress: Arc<Progress>,
    tasks: &Tasks,
) -> Result<Report, MigrateError> {
    let identity = identity(&options, &pairs);
    let (journal, mut past) = Journal::open(&options.state, &identity)?;
    let own = acl::own_id(&options.to).await.map_err(MigrateError::Target)?;
    let accounts = Accounts { mapped: options.accounts.clone(), own };
    let shared = Arc::new(Shared { options, journal, progress });
    count_ahead(&shared.options, &shared.progress, (&pairs, &past), tasks);
    let mut report = Report::default();
    for pair in &pairs {
        shared.progress.enter(&pair.from);
        let mut bucket = begin(pair);
        let state = past.remove(&pair.from).unwrap_or_default();
        if state.ended {
            bucket.sums = state.sums;
            state.failed.into_values().for_each(|problem| bucket.fail(problem));
        } else {
            one(&shared, (pair, accounts.clone()), state, tasks, &mut bucket).await?;
        }
        report.buckets.push(bucket);
    }
    shared.journal.finished()?;
    if shared.options.verify != Verify::No {
        shared.progress.restart();
        count_ahead(&shared.options, &shared.progress, (&pairs, &Past::new()), tasks);
        for (pair, bucket) in pairs.iter().zip(&mut report.buckets) {
            verify::bucket(&shared.options, pair, &shared.progress, bucket).await?;
        }
    }
    tasks.stop(std::time::Duration::ZERO).await;
    Ok(report)
}

fn begin(pair: &Pairing) -> BucketReport {
    BucketReport { from: pair.from.clone(), to: pair.to.clone(), ..BucketReport::default() }
}

/// The buckets that are meant.
async fn pairs(options: &Options) -> Result<Vec<Pairing>, MigrateError> {
    let listed = options.from.list_buckets().await;
    if options.buckets.is_empty() {
        let listed = listed.map_err(MigrateError::Source)?;
        return Ok(listed.into_iter().map(|bucket| Pairing { to: bucket.name.clone(), from: bucket.name }).collect());
    }
    for pair in &options.buckets {
        match options.from.head_bucket(&pair.from).await {
            Ok(_) => {}
            Err(error) if error.status() == Some(404) => return Err(MigrateError::NoBucket(pair.from.clone())),
            Err(error) => return Err(MigrateError::Source(error)),
        }
    }
    Ok(options.buckets.clone())
}

/// What a journal is of: another source, target or choice of keys makes another one.
fn identity(options: &Options, pairs: &[Pairing]) -> String {
    let (from, to) = (options.from.endpoint(), options.to.endpoint());
    let all = if options.buckets.is_empty() { "all".to_owned() } else { names(pairs) };
    format!("from {} to {}, buckets {all}, prefix {:?}", from.authority, to.authority, options.prefix)
}

fn names(pairs: &[Pairing]) -> String {
    pairs.iter().map(|pair| format!("{}={}", pair.from, pair.to)).collect::<Vec<_>>().join(" ")
}

/// Counts what is to come, so that whoever watches knows how much that is.
fn count_ahead(options: &Options, progress: &Arc<Progress>, (pairs, past): (&[Pairing], &Past), tasks: &Tasks) {
    let (options, progress, pairs) = (options.clone(), Arc::clone(progress), pairs.to_vec());
    let starts = past.iter().map(|(name, state)| (name.clone(), (state.ended, state.after.clone())));
    let starts: BTreeMap<String, (bool, Option<String>)> = starts.collect();
    tasks.spawn("count", async move {
        for pair in pairs {
            let (ended, after) = starts.get(&pair.from).cloned().unwrap_or_default();
            if ended {
                continue;
            }
            let versioned = options.from.bucket_versioning(&pair.from).await.ok().flatten().is_some();
            let mut walk = Walk::new(&options.from, (&pair.from, &options.prefix), versioned, after);
            while let Ok(Some(group)) = walk.next().await {
                progress.add_expected(group.versions.len() as u64);
            }
        }
        progress.counted();
    });
}

/// Copies a bucket.
async fn one(
    shared: &Arc<Shared>,
    (pair, accounts): (&Pairing, Accounts),
    state: BucketState,
    tasks: &Tasks,
    report: &mut BucketReport,
) -> Result<(), MigrateError> {
    let options = &shared.options;
    let (place, versioning) = bucket::prepare(options, pair, accounts, report).await?;
    let mut state = state;
    let own = place.accounts.own.clone();
    let left = std::mem::take(&mut state.uploads);
    uploads::give_up(shared, pair, &left).await.map_err(MigrateError::Target)?;
    if state.after.is_none() && state.touched.is_none() {
        let mut there = Walk::new(&options.to, (&pair.to, &options.prefix), place.is_versioned, None);
        state.fresh = there.next().await.map_err(MigrateError::Target)?.is_none();
    }
    shared.journal.begun(&pair.from, state.fresh)?;
    report.sums = state.sums;
    let failed = std::mem::take(&mut state.failed);
    let ledger = Arc::new(Ledger::new(&pair.from, state, report.clone()));
    copy_keys(shared, &Arc::new(place), &ledger, tasks, failed).await?;
    *report = ledger.end()?;
    uploads::give_up(shared, pair, &left).await.map_err(MigrateError::Target)?;
    left.iter().try_for_each(|(id, key)| shared.journal.upload_is_over(&pair.from, key, id))?;
    uploads::name(shared, pair, &own, report).await.map_err(MigrateError::Target)?;
    bucket::finish(options, pair, &versioning, report).await?;
    shared.journal.ended(&pair.from)?;
    Ok(())
}

/// A key for a worker.
struct Work {
    number: u64,
    group: Group,
    lookup: bool,
}

async fn copy_keys(
    shared: &Arc<Shared>,
    place: &Arc<Place>,
    ledger: &Arc<Ledger>,
    tasks: &Tasks,
    failed: BTreeMap<String, Problem>,
) -> Result<(), MigrateError> {
    retry(shared, place, ledger, failed).await?;
    let (give, take) = mpsc::channel::<Work>(AHEAD);
    let take = Arc::new(tokio::sync::Mutex::new(take));
    let (alive, mut ended) = mpsc::channel::<()>(1);
    for _ in 0..shared.options.workers.max(1) {
        let (shared, place, ledger, take) =
            (Arc::clone(shared), Arc::clone(place), Arc::clone(ledger), Arc::clone(&take));
        let alive = alive.clone();
        tasks.spawn("copy", async move {
            work(&shared, &place, &ledger, &take).await;
            drop(alive);
        });
    }
    drop(alive);
    let walked = walk(shared, place, ledger, give).await;
    // Workers end when there is no more work, and drop their ends of the channel.
    ended.recv().await;
    walked
}

async fn work(shared: &Shared, place: &Place, ledger: &Ledger, take: &tokio::sync::Mutex<mpsc::Receiver<Work>>) {
    loop {
        let next = take.lock().await.recv().await;
        let Some(Work { number, group, lookup }) = next else { return };
        if ledger.is_over() {
            continue;
        }
        let outcome = key::copy(shared, place, &group, lookup).await;
        ledger.finish(shared, number, &group, outcome);
    }
}

/// Hands out keys in the source's order.
async fn walk(shared: &Shared, place: &Place, ledger: &Ledger, give: mpsc::Sender<Work>) -> Result<(), MigrateError> {
    let options = &shared.options;
    let start = ledger.after();
    let walk = Walk::new(&options.from, (&place.from, &options.prefix), place.is_versioned, start);
    let mut walk = walk.with_patience(PATIENCE);
    let mut touched: Option<String> = None;
    let mut number = 0;
    while let Some(group) = walk.next().await.map_err(MigrateError::Source)? {
        if ledger.is_over() {
            break;
        }
        // Before anything of a page is copied the journal says how far that may go. What an earlier run may have touched
        // goes further: until that is passed, its word stands.
        if touched.is_none() && !ledger.is_behind_touched() {
            let last = walk.last_of_page().unwrap_or(&group.key).to_owned();
            shared.journal.touched(&place.from, &last)?;
            touched = Some(last);
        }
        if touched.as_deref() == Some(group.key.as_str()) {
            touched = None;
        }
        let Some(lookup) = ledger.plan(&group) else {
            shared.progress.done(group.versions.len());
            continue;
        };
        if !ledger.begin(number, &group.key).await {
            break;
        }
        if give.send(Work { number, group, lookup }).await.is_err() {
            break;
        }
        number += 1;
    }
    Ok(())
}

/// Tries again what failed in earlier runs.
async fn retry(
    shared: &Shared,
    place: &Place,
    ledger: &Ledger,
    failed: BTreeMap<String, Problem>,
) -> Result<(), MigrateError> {
    let options = &shared.options;
    let keys = stream::iter(failed.into_keys().filter(|key| !key.is_empty()));
    let tried = keys.map(|key| async move {
        let group = listing::of_key(&options.from, &place.from, &key, place.is_versioned).await?;
        let is_gone = group.versions.is_empty() || ledger.is_over();
        let outcome = if is_gone { Outcome::default() } else { key::copy(shared, place, &group, true).await };
        Ok((key, group, outcome))
    });
    let mut tried = tried.buffer_unordered(options.workers.max(1));
    while let Some(next) = tried.next().await {
        let (key, group, outcome) = next.map_err(MigrateError::Source)?;
        if ledger.is_over() {
            // What is not tried stays noted.
            return Ok(());
        }
        if group.versions.is_empty() {
            // It is gone at the source: nothing is missing any more.
            shared.journal.failed(&place.from, &Problem { key, ..Problem::default() })?;
            continue;
        }
        if outcome.problems.is_empty() && outcome.fatal.is_none() {
            shared.journal.failed(&place.from, &Problem { key, ..Problem::default() })?;
        }
        ledger.settle(shared, &group, outcome);
    }
    Ok(())
}

/// What is done of a bucket, and what the journal knows of it.
#[derive(Debug)]
struct Ledger {
    bucket: String,
    inner: Mutex<Inner>,
    over: AtomicBool,
    /// Room for keys that are handed out, or done behind one that is not.
    room: Semaphore,
}

#[derive(Debug)]
struct Inner {
    state: BucketState,
    report: BucketReport,
    /// Keys handed out and not done, and those done behind one that is not.
    open: BTreeMap<u64, (String, bool)>,
    /// The last key of those done without a gap.
    last: Option<String>,
    since_checkpoint: u64,
    /// Keys given up since one was copied.
    in_a_row: u32,
    fatal: Option<MigrateError>,
}

impl Ledger {
    fn new(bucket: &str, mut state: BucketState, report: BucketReport) -> Self {
        if state.touched == state.after {
            state.touched = None;
        }
        let inner =
            Inner { state, report, open: BTreeMap::new(), last: None, since_checkpoint: 0, in_a_row: 0, fatal: None };
        let (inner, over) = (Mutex::new(inner), AtomicBool::new(false));
        Self { bucket: bucket.to_owned(), inner, over, room: Semaphore::new(WAITING) }
    }

    fn after(&self) -> Option<String> {
        self.inner.lock().state.after.clone()
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Whether the target is to be asked what it has of a key; `None` where the key is done.
    fn plan(&self, group: &Group) -> Option<bool> {
        let mut inner = self.inner.lock();
        let lookup = !inner.state.fresh || inner.state.touched.is_some();
        // Not every store lists in the order of bytes: it is that very key that ends it.
        if inner.state.touched.as_deref() == Some(group.key.as_str()) {
            inner.state.touched = None;
        }
        if !inner.state.done.is_empty() && inner.state.done.contains(&hash(group)) {
            return None;
        }
        Some(lookup)
    }

    /// Whether the walk is still among keys that an earlier run may have touched.
    fn is_behind_touched(&self) -> bool {
        self.inner.lock().state.touched.is_some()
    }

    /// Notes that a key is handed out, when there is room for it; false where the run is over.
    async fn begin(&self, number: u64, key: &str) -> bool {
        let Ok(room) = self.room.acquire().await else { return false };
        room.forget();
        self.inner.lock().open.insert(number, (key.to_owned(), false));
        true
    }

    fn end_early(&self) {
        self.over.store(true, Ordering::Relaxed);
        self.room.close();
    }

    fn finish(&self, shared: &Shared, number: u64, group: &Group, outcome: Outcome) {
        if outcome.fatal.is_none() {
            self.settle(shared, group, outcome);
        } else {
            self.stop(outcome);
            return;
        }
        let mut inner = self.inner.lock();
        if let Some(key) = inner.open.get_mut(&number) {
            key.1 = true;
        }
        while let Some(first) = inner.open.first_entry().filter(|first| first.get().1) {
            let (key, _) = first.remove();
            inner.last = Some(key);
            inner.since_checkpoint += 1;
            self.room.add_permits(1);
        }
        if inner.since_checkpoint >= CHECKPOINT
            && let Some(last) = inner.last.take()
        {
            inner.since_checkpoint = 0;
            let written = shared.journal.checkpoint(&self.bucket, &last);
            self.check(&mut inner, written);
        }
    }

    /// Writes down what came of a key.
    fn settle(&self, shared: &Shared, group: &Group, outcome: Outcome) {
        self.count(&outcome);
        let Outcome { sums, problems, notes, fatal, .. } = outcome;
        shared.progress.done(group.versions.len());
        let mut inner = self.inner.lock();
        inner.report.sums.add(&sums);
        for note in notes {
            inner.report.note(note);
        }
        for problem in &problems {
            shared.progress.problem();
            let written = shared.journal.failed(&self.bucket, problem);
            self.check(&mut inner, written);
            inner.report.fail(problem.clone());
        }
        let written = shared.journal.done(hash(group), sums);
        self.check(&mut inner, written);
        drop(inner);
        if fatal.is_some() {
            self.stop(Outcome { fatal, ..Outcome::default() });
        }
    }

    /// Ends the run where nothing goes through any more: each further key would take its time for nothing.
    fn count(&self, outcome: &Outcome) {
        let mut inner = self.inner.lock();
        if outcome.gave_up {
            inner.in_a_row += 1;
        } else if outcome.sums.versions + outcome.sums.markers > 0 {
            inner.in_a_row = 0;
        }
        if inner.in_a_row >= IN_A_ROW && inner.fatal.is_none() {
            let why = outcome.problems.last().map(|problem| problem.problem.clone()).unwrap_or_default();
            inner.fatal = Some(MigrateError::Stuck { keys: inner.in_a_row, why });
            self.end_early();
        }
    }

    fn check(&self, inner: &mut Inner, written: Result<(), JournalError>) {
        if let Err(error) = written {
            inner.fatal = Some(error.into());
            self.end_early();
        }
    }

    fn stop(&self, outcome: Outcome) {
        use super::copy::CopyError;
        let error = match outcome.fatal {
            Some(CopyError::Source(error)) => MigrateError::Source(error),
            Some(CopyError::Target(error)) => MigrateError::Target(error),
            Some(other) => MigrateError::Source(S3ClientError::Answer(other.to_string())),
            None => return,
        };
        self.inner.lock().fatal = Some(error);
        self.end_early();
    }

    fn end(&self) -> Result<BucketReport, MigrateError> {
        let mut inner = self.inner.lock();
        match inner.fatal.take() {
            Some(error) => Err(error),
            None => Ok(std::mem::take(&mut inner.report)),
        }
    }
}

/// A key and its versions, as the journal knows them.
fn hash(group: &Group) -> u64 {
    let mut hasher = DefaultHasher::new();
    group.key.hash(&mut hasher);
    for version in &group.versions {
        (&version.version, &version.object.etag, version.marker).hash(&mut hasher);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migrate::report::Sums;

    #[test]
    fn what_an_earlier_run_may_have_touched_is_looked_up_until_its_last_key_is_passed() {
        let touched = Some("m".to_owned());
        let state = BucketState { fresh: true, after: Some("a".to_owned()), touched, ..BucketState::default() };
        let ledger = Ledger::new("bucket", state, BucketReport::default());
        let plan = |key: &str| ledger.plan(&Group { key: key.to_owned(), versions: Vec::new() });
        assert_eq!(plan("b"), Some(true));
        assert!(ledger.is_behind_touched(), "the journal must go on saying so");
        assert_eq!(plan("m"), Some(true));
        assert!(!ledger.is_behind_touched());
        assert_eq!(plan("n"), Some(false));
    }

    #[test]
    fn a_run_through_which_nothing_goes_ends() {
        let ledger = Ledger::new("bucket", BucketState::default(), BucketReport::default());
        let problem = Problem { problem: "full".to_owned(), ..Problem::default() };
        let gave_up = Outcome { gave_up: true, problems: vec![problem], ..Outcome::default() };
        let copied = Outcome { sums: Sums { versions: 1, ..Sums::default() }, ..Outcome::default() };
        for outcome in std::iter::repeat_n(&gave_up, 31).chain([&copied]).chain(std::iter::repeat_n(&gave_up, 31)) {
            ledger.count(outcome);
        }
        assert!(!ledger.is_over(), "something went through");
        ledger.count(&gave_up);
        assert!(ledger.is_over());
        assert!(matches!(ledger.end(), Err(MigrateError::Stuck { keys: IN_A_ROW, why }) if why == "full"));
    }

    #[tokio::test]
    async fn keys_done_behind_a_slow_one_are_bounded() {
        let ledger = Ledger::new("bucket", BucketState::default(), BucketReport::default());
        for number in 0..WAITING as u64 {
            assert!(ledger.begin(number, "key").await);
        }
        let mut next = std::pin::pin!(ledger.begin(u64::MAX, "key"));
        assert!(futures_util::poll!(next.as_mut()).is_pending());
        ledger.end_early();
        assert!(!next.await, "a run that is over waits for nothing");
    }
}
