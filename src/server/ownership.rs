//! Owning the folders: waits for another owner, and holds the lease while this process serves.

use std::{
    io::{Write, stderr},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use super::{StartError, notify::Notify, standby::Standby};
use crate::{
    config::{Config, DataKind, LeaseMode, MetadataKind, Modules, Role},
    lease::{Contender, Lease, LeaseError, LeaseOptions, Lost, Step, SystemUptime, Uptime, is_shared},
};

/// Between looks.
const PAUSE: Duration = Duration::from_millis(300);
/// Between lines of the log while nothing changes.
const REMIND: Duration = Duration::from_secs(15);
/// For the log to be written when the process ends itself; not long, as its threads go on meanwhile.
const LAST_WORDS: Duration = Duration::from_millis(20);

/// Locks of the stores, which see to it that no two processes of one machine use a folder.
const METADATA_LOCK: &str = "cloudserver.lock";
const DATA_LOCK: &str = "LOCK";

/// Waits until this process owns its folders. `None` where there is nothing to own, or no lease to hold.
///
/// While it waits the admin listeners answer: `/live` with 200, `/ready` with 503.
///
/// # Errors
/// [`StartError::Lease`] where the folder of leases cannot be used.
///
/// # Cancel safety
/// A dropped future may leave a claim behind; the process is to end then.
pub(super) async fn own(config: &Config, notify: &Notify) -> Result<Option<Arc<Lease>>, StartError> {
    let Some(options) = wanted(config)? else { return Ok(None) };
    warn_of_local_locks(&options.folder);
    let clock: Arc<dyn Uptime> = Arc::new(SystemUptime);
    let mut contender = blocking(move || Contender::new(options, clock)).await?;
    let mut standby = None;
    let mut told: Option<(String, Duration)> = None;
    loop {
        let step = blocking(move || {
            let step = contender.step(end_process)?;
            Ok((contender, step))
        });
        let (next, step) = step.await?;
        contender = next;
        let why = match step {
            Step::Owned(lease) => {
                if let Some(standby) = standby {
                    Standby::end(standby).await;
                }
                tracing::info!(lease = lease.epoch(), "this server owns the folders");
                return Ok(Some(Arc::new(lease)));
            }
            Step::Waiting(why) => why,
        };
        let now = SystemUptime.now();
        let gist = gist(&why);
        let known = told.as_ref().is_some_and(|(before, at)| *before == gist && now.saturating_sub(*at) < REMIND);
        if !known {
            tracing::warn!("waiting: {why}");
            notify.status(&why);
            told = Some((gist, now));
        }
        let serving = match standby {
            Some(serving) => serving,
            None => Standby::start(config)?,
        };
        serving.explain(&why);
        standby = Some(serving);
        tokio::time::sleep(PAUSE).await;
    }
}

/// A reason without its figures, which grow while it stays the same.
fn gist(why: &str) -> String {
    why.chars().filter(|char| !char.is_ascii_digit()).collect()
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LeaseError> + Send + 'static,
) -> Result<T, StartError> {
    Ok(tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other)??)
}

/// Gives the folders back, once everything in them is closed.
pub(super) async fn release(lease: Arc<Lease>) {
    match tokio::task::spawn_blocking(move || lease.release()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "the lease cannot be given back; others wait until it has run out"),
        Err(error) => tracing::warn!(%error, "the lease cannot be given back"),
    }
}

/// What to contend for, if the configuration wants that.
fn wanted(config: &Config) -> Result<Option<LeaseOptions>, StartError> {
    let Modules { role, data_client, metadata_client, .. } = &config.modules;
    let has_metadata = *role == Role::Metadata || (role.is_front() && metadata_client.is_none());
    let has_metadata = has_metadata && config.metadata == MetadataKind::RocksDb;
    let has_data = *role == Role::Data || (role.is_front() && data_client.is_none());
    let has_data = has_data && config.data != DataKind::Memory;
    let metadata = has_metadata.then_some((&config.metadata_path, METADATA_LOCK));
    let data = has_data.then_some((&config.data_path, DATA_LOCK));
    let Some((folder, _)) = metadata.or(data) else { return Ok(None) };
    let needed = match config.lease.mode {
        LeaseMode::Off => false,
        LeaseMode::On => true,
        LeaseMode::Auto => {
            let paths = [metadata, data].into_iter().flatten();
            paths.map(|(path, _)| is_shared(path)).collect::<Result<Vec<_>, _>>()?.contains(&true)
        }
    };
    let locks = [metadata, data].into_iter().flatten().map(|(path, lock)| path.join(lock)).collect();
    let options = LeaseOptions { folder: folder.clone(), locks, time: config.lease.time };
    Ok(needed.then_some(options))
}

/// A network file system whose locks are this machine's alone leaves the lease by itself.
fn warn_of_local_locks(folder: &Path) {
    let Some(options) = mount_options(folder) else { return };
    let local = options
        .split(',')
        .find(|option| matches!(*option, "nolock" | "local_lock=all" | "local_lock=flock" | "local_lock=posix"));
    if let Some(option) = local {
        tracing::warn!(
            option,
            "locks on this mount do not reach other machines: mount it without, so that a frozen owner is waited for"
        );
    }
}

/// The options of the mount that a path is on, as `/proc/self/mounts` has them.
fn mount_options(path: &Path) -> Option<String> {
    let path = path.canonicalize().ok()?;
    let mounts = std::fs::read_to_string("/proc/self/mounts").ok()?;
    let lines = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let point = PathBuf::from(fields.next()?.replace("\\040", " "));
        let options = fields.nth(1)?;
        path.starts_with(&point).then(|| (point.as_os_str().len(), options.to_owned()))
    });
    lines.max_by_key(|(length, _)| *length).map(|(_, options)| options)
}

/// Ends this process at once: its folders are, or may soon be, another server's. Nothing is flushed or closed, because
/// that would write to them.
fn end_process(lost: Lost) {
    tracing::error!("{lost}: this server ends at once");
    drop(writeln!(stderr(), "cloudserver: {lost}: this server ends at once"));
    thread::park_timeout(LAST_WORDS);
    if rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).is_err() {
        std::process::abort();
    }
}
