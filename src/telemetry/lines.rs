//! Whole lines on their way to standard output, written by one thread of their own.
//!
//! A request must never wait for a terminal or a stalled log collector: lines are appended to a bounded buffer, and
//! when it is full they are dropped and counted. The buffer is written at most every [`COALESCE`] or when it has grown.

use std::{
    fmt,
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use parking_lot::{Condvar, Mutex};

/// Bytes that may wait for the writer; beyond them lines are dropped.
const CAPACITY: usize = 1 << 20;
/// Bytes at which the writer is woken early.
const PLENTY: usize = 64 << 10;
/// How long the writer lets lines gather.
const COALESCE: Duration = Duration::from_millis(20);

/// Where log lines go. Clones share it; dropping the last one writes what waits.
#[derive(Clone)]
pub struct LineSink(Arc<Owner>);

/// Ends the writing thread when the last handle is gone.
struct Owner {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// Wakes the writer.
    filled: Condvar,
    /// Wakes those in [`LineSink::flush`].
    written: Condvar,
    dropped: AtomicU64,
}

#[derive(Default)]
struct Waiting {
    bytes: Vec<u8>,
    /// Batches taken so far, and batches written.
    taken: u64,
    written: u64,
    urgent: bool,
    closed: bool,
}

impl fmt::Debug for LineSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LineSink").field("dropped", &self.dropped()).finish_non_exhaustive()
    }
}

impl LineSink {
    /// A sink that writes to `out` from a thread of its own.
    ///
    /// # Errors
    /// The system's, where it gives no thread.
    pub fn new(out: impl Write + Send + 'static) -> std::io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let theirs = Arc::clone(&shared);
        let writer = std::thread::Builder::new().name("log-writer".into()).spawn(move || write_all(&theirs, out))?;
        Ok(Self(Arc::new(Owner { shared, writer: Mutex::new(Some(writer)) })))
    }

    /// Appends a line (the line end is added). Never waits for the output.
    pub fn push(&self, line: &str) {
        let shared = &self.0.shared;
        let mut waiting = shared.waiting.lock();
        if waiting.bytes.len() + line.len() >= CAPACITY {
            shared.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let before = waiting.bytes.len();
        waiting.bytes.extend_from_slice(line.as_bytes());
        waiting.bytes.push(b'\n');
        let now_plenty = before < PLENTY && waiting.bytes.len() >= PLENTY;
        waiting.urgent |= now_plenty;
        if before == 0 || now_plenty {
            shared.filled.notify_one();
        }
    }

    /// Has the lines pushed before written without delay, but does not wait for it.
    pub fn hurry(&self) {
        self.0.shared.waiting.lock().urgent = true;
        self.0.shared.filled.notify_one();
    }

    /// Waits until every line pushed before has been handed to the output, but at most one second: an output that
    /// takes nothing must not hold up a shutdown.
    pub fn flush(&self) {
        let shared = &self.0.shared;
        let mut waiting = shared.waiting.lock();
        let goal = waiting.taken + u64::from(!waiting.bytes.is_empty());
        waiting.urgent = true;
        shared.filled.notify_one();
        while waiting.written < goal && !waiting.closed {
            if shared.written.wait_for(&mut waiting, Duration::from_secs(1)).timed_out() {
                return;
            }
        }
    }

    /// Lines dropped so far because the output did not keep up.
    pub fn dropped(&self) -> u64 {
        self.0.shared.dropped.load(Ordering::Relaxed)
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.waiting.lock().closed = true;
        self.shared.filled.notify_one();
        if let Some(writer) = self.writer.lock().take() {
            // A panic of the writer has no one left to tell.
            drop(writer.join());
        }
    }
}

fn write_all(shared: &Shared, mut out: impl Write) {
    let mut batch = Vec::new();
    while take(shared, &mut batch) {
        // A closed output (a pipe whose reader left) must not end the server: the lines are lost, and that is all.
        drop(out.write_all(&batch).and_then(|()| out.flush()));
        batch.clear();
        let mut waiting = shared.waiting.lock();
        waiting.written += 1;
        shared.written.notify_all();
    }
}

/// Waits for lines and swaps them into `batch`; `false` when there will be no more.
fn take(shared: &Shared, batch: &mut Vec<u8>) -> bool {
    let mut waiting = shared.waiting.lock();
    while waiting.bytes.is_empty() {
        if waiting.closed {
            return false;
        }
        shared.filled.wait(&mut waiting);
    }
    while !waiting.urgent && !waiting.closed {
        if shared.filled.wait_for(&mut waiting, COALESCE).timed_out() {
            break;
        }
    }
    waiting.urgent = false;
    waiting.taken += 1;
    std::mem::swap(&mut waiting.bytes, batch);
    true
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An output that a test can read.
    #[derive(Clone, Default)]
    pub(crate) struct Memory(pub(crate) Arc<Mutex<Vec<u8>>>);

    impl Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl Memory {
        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.lock().clone()).unwrap()
        }
    }

    #[test]
    fn lines_arrive_whole_and_in_order_and_the_last_drop_writes_the_rest() {
        let out = Memory::default();
        let sink = LineSink::new(out.clone()).unwrap();
        sink.push("first");
        sink.flush();
        assert_eq!(out.text(), "first\n");
        sink.push("second");
        sink.clone().push("third");
        drop(sink);
        assert_eq!(out.text(), "first\nsecond\nthird\n");
    }

    #[test]
    fn a_stalled_output_drops_lines_instead_of_stalling_the_caller() {
        struct Stalled(Arc<Mutex<()>>);
        impl Write for Stalled {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                drop(self.0.lock());
                Ok(bytes.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let gate = Arc::new(Mutex::new(()));
        let held = gate.lock();
        let sink = LineSink::new(Stalled(Arc::clone(&gate))).unwrap();
        let line = "x".repeat(1000);
        for _ in 0..3000 {
            sink.push(&line);
        }
        assert!(sink.dropped() > 500, "{}", sink.dropped());
        drop(held);
    }
}
