//! What the system knows of a process, and small file systems to fill up.

use std::{
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicU8, Ordering},
    time::Duration,
};

/// Looks at a running process through `/proc`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process(pub(crate) u32);

impl Process {
    fn status_kib(self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0)).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.trim_start_matches(':').trim().trim_end_matches("kB").trim().parse().unwrap()
    }

    /// Resident memory now, in bytes.
    pub(crate) fn resident(self) -> u64 {
        self.status_kib("VmRSS") << 10
    }

    /// The most resident memory since the start or [`Process::forget_peak`], in bytes.
    pub(crate) fn peak(self) -> u64 {
        self.status_kib("VmHWM") << 10
    }

    /// Starts the peak anew.
    pub(crate) fn forget_peak(self) {
        fs::write(format!("/proc/{}/clear_refs", self.0), "5").unwrap();
    }

    pub(crate) fn open_files(self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.0)).unwrap().count()
    }

    /// Bytes that it has read by system calls.
    pub(crate) fn bytes_read(self) -> u64 {
        let io = fs::read_to_string(format!("/proc/{}/io", self.0)).unwrap();
        io.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap().parse().unwrap()
    }

    /// Processor time of user and system so far; the clock ticks 100 times a second.
    pub(crate) fn processor_time(self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0)).unwrap();
        let (_, fields) = stat.rsplit_once(')').unwrap();
        let ticks: u64 = fields.split_ascii_whitespace().skip(11).take(2).map(|t| t.parse::<u64>().unwrap()).sum();
        Duration::from_millis(ticks * 10)
    }

    /// Keeps it to the processors from one to before another. As many of those as there are.
    pub(crate) fn stay_on(self, from: usize, to: usize) {
        let there = fs::read_to_string("/sys/devices/system/cpu/online").unwrap();
        let last: usize = there.trim().rsplit(['-', ',']).next().unwrap().parse().unwrap();
        let processors = format!("{from}-{}", last.min(to - 1));
        let mut taskset = Command::new("taskset");
        taskset.args(["--all-tasks", "--cpu-list", "--pid", &processors, &self.0.to_string()]).stdout(Stdio::null());
        assert!(taskset.status().unwrap().success(), "taskset {processors}");
    }

    pub(crate) fn signal(self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.0.to_string()]).status().unwrap();
        assert!(sent.success(), "kill -s {name} {}", self.0);
    }
}

/// A file system of a few megabytes in memory, unmounted when dropped.
#[derive(Debug)]
pub(crate) struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    /// Mounts one. `None`, said aloud, where that is not allowed.
    pub(crate) fn mount(mebibytes: u64) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={mebibytes}m"), "tmpfs"]).arg(folder.path());
        let mounted = mount.stderr(Stdio::null()).status().is_ok_and(|status| status.success());
        if !mounted {
            println!("SKIPPED: no file system can be mounted here (this test needs root)");
        }
        mounted.then_some(Self { folder })
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Takes all space but `leave` bytes, with a file beside the server's own.
    pub(crate) fn fill(&self, leave: u64) -> Ballast {
        let disk = rustix::fs::statvfs(self.path()).unwrap();
        let path = self.path().join(".ballast");
        let free = disk.f_bavail * disk.f_frsize;
        let size = usize::try_from(free.saturating_sub(leave)).unwrap();
        fs::write(&path, vec![0; size]).unwrap();
        Ballast(path)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a server that a failed test left behind must not keep the mount point.
        drop(Command::new("umount").arg("-l").arg(self.path()).status());
    }
}

/// Space taken; given back when dropped.
#[derive(Debug)]
pub(crate) struct Ballast(PathBuf);

impl Drop for Ballast {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.0));
    }
}

/// What passes for another machine: a network of its own, and a kernel that was booted at another time.
#[derive(Debug)]
pub(crate) struct Machine {
    name: String,
    pub(crate) address: Ipv4Addr,
    boot: tempfile::NamedTempFile,
}

impl Machine {
    /// Makes one. `None`, said aloud, where that is not allowed.
    pub(crate) fn new() -> Option<Self> {
        static MADE: AtomicU8 = AtomicU8::new(0);
        let number = MADE.fetch_add(1, Ordering::SeqCst) % 60;
        let process = std::process::id();
        let boot = tempfile::NamedTempFile::new().unwrap();
        fs::write(boot.path(), format!("{process}-{number}\n")).unwrap();
        // The network that is set aside for benchmarks; tests of one process share a part of it.
        let [.., third] = process.to_be_bytes();
        let address = |last| Ipv4Addr::new(198, 18, third, 4 * number + last);
        let machine = Self { name: format!("cs{process}-{number}"), address: address(2), boot };
        let (name, inside, outside) = (&machine.name, format!("ci{process}-{number}"), format!("co{process}-{number}"));
        let steps = [
            format!("netns add {name}"),
            format!("link add {outside} type veth peer name {inside} netns {name}"),
            format!("addr add {}/30 dev {outside}", address(1)),
            format!("link set {outside} up"),
            format!("-n {name} addr add {}/30 dev {inside}", address(2)),
            format!("-n {name} link set {inside} up"),
            format!("-n {name} link set lo up"),
        ];
        let done = |step: &String| {
            let mut ip = Command::new("ip");
            ip.args(step.split(' ')).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
        };
        let made = steps.iter().all(done);
        let mut mount = machine.command(Path::new("true"));
        let made = made && mount.stderr(Stdio::null()).status().is_ok_and(|status| status.success());
        if !made {
            println!("SKIPPED: no network name space can be made here (this test needs root)");
        }
        made.then_some(machine)
    }

    /// A command that runs there. What it runs is the process that is started, not a child of it.
    pub(crate) fn command(&self, program: &Path) -> Command {
        const THERE: &str = "mount --bind \"$0\" /proc/sys/kernel/random/boot_id && exec \"$@\"";
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, "unshare", "--mount", "--propagation", "private"]);
        command.args(["sh", "-c", THERE]).arg(self.boot.path()).arg(program);
        command
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Takes its end of the cable along.
        drop(Command::new("ip").args(["netns", "del", &self.name]).stderr(Stdio::null()).status());
    }
}

/// Files of blobs under a data directory: everything in its 256 shards.
pub(crate) fn blob_files(data: &Path) -> usize {
    let shards = fs::read_dir(data).unwrap().map(|entry| entry.unwrap().path());
    shards.filter(|path| path.is_dir()).map(|shard| fs::read_dir(shard).unwrap().count()).sum()
}

pub(crate) fn mebibytes(bytes: u64) -> String {
    format!("{}.{} MiB", bytes >> 20, ((bytes % (1 << 20)) * 10) >> 20)
}
