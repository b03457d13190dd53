//! Takeovers on real folders, and every interleaving that random choices find on a board in memory.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    time::Duration,
};

use parking_lot::Mutex;
use proptest::prelude::{ProptestConfig, Strategy, any, prop, prop_assert, prop_oneof, proptest};

use super::{
    Contender, Lease, LeaseOptions, Lost, Step, Uptime,
    board::{Board, Claim, FileBoard},
    record::{Life, ProcessId, Record},
    verdict::{Sight, Verdict, Watch},
};

/// A clock that stands where a test puts it, in milliseconds.
#[derive(Debug, Default)]
struct ManualUptime(AtomicU64);

impl ManualUptime {
    fn set(&self, millis: u64) {
        self.0.store(millis, Ordering::SeqCst);
    }
}

impl Uptime for ManualUptime {
    fn now(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// Claims in memory; clones are the handles of several processes.
#[derive(Clone, Debug, Default)]
struct MemoryBoard {
    claims: Arc<Mutex<BTreeMap<u64, Record>>>,
    own: Arc<Mutex<Option<u64>>>,
}

impl MemoryBoard {
    fn of_another_process(&self) -> Self {
        Self { claims: Arc::clone(&self.claims), own: Arc::default() }
    }
}

impl Board for MemoryBoard {
    fn newest(&self) -> io::Result<Option<Claim>> {
        let claims = self.claims.lock();
        let newest = claims.last_key_value().map(|(epoch, record)| (*epoch, record.clone()));
        newest.map(|(epoch, record)| Ok(Claim { epoch, content: record.to_bytes()?, record: Some(record) })).transpose()
    }

    fn claim(&self, epoch: u64, record: &Record) -> io::Result<bool> {
        let mut claims = self.claims.lock();
        if claims.last_key_value().is_some_and(|(newest, _)| *newest >= epoch) {
            return Ok(false);
        }
        claims.insert(epoch, record.clone());
        *self.own.lock() = Some(epoch);
        Ok(true)
    }

    fn write(&self, record: &Record) -> io::Result<()> {
        let own = self.own.lock().ok_or(io::ErrorKind::NotFound)?;
        // What was removed can still be written to, as a file that is open.
        if let Some(claim) = self.claims.lock().get_mut(&own) {
            *claim = record.clone();
        }
        Ok(())
    }

    fn is_superseded(&self, epoch: u64) -> io::Result<bool> {
        let claims = self.claims.lock();
        Ok(claims.contains_key(&(epoch + 1)) || !claims.contains_key(&epoch))
    }

    fn tidy(&self, epoch: u64) -> io::Result<()> {
        self.claims.lock().retain(|claim, _| *claim >= epoch);
        Ok(())
    }
}

fn record(owner: &str, seconds: u64) -> Record {
    Record { owner: owner.to_owned(), process: ProcessId::default(), seconds, beat: 0, released: false }
}

fn claim(epoch: u64, record: Record) -> Claim {
    Claim { epoch, content: record.to_bytes().unwrap(), record: Some(record) }
}

fn sight(newest: Option<Claim>) -> Sight {
    Sight { newest, locked: false, life: Life::Unknown, conclusive: false, took: Duration::ZERO }
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[test]
fn nobody_is_waited_for_who_is_not_there() {
    let mut watch = Watch::new(seconds(10));
    assert_eq!(watch.judge(seconds(0), &sight(None)), Verdict::Take(1));
    let gone = Sight { life: Life::Gone, ..sight(Some(claim(7, record("a", 10)))) };
    assert_eq!(watch.judge(seconds(0), &gone), Verdict::Take(8));
    let released = Record { released: true, ..record("a", 10) };
    assert_eq!(watch.judge(seconds(0), &sight(Some(claim(7, released)))), Verdict::Take(8));
    let conclusive = Sight { conclusive: true, ..sight(Some(claim(7, record("a", 10)))) };
    assert_eq!(watch.judge(seconds(0), &conclusive), Verdict::Take(8));
}

#[test]
fn a_lock_that_is_held_is_never_overruled() {
    let mut watch = Watch::new(seconds(3));
    let released = Record { released: true, ..record("a", 3) };
    for newest in [None, Some(claim(7, record("a", 3))), Some(claim(7, released))] {
        for now in [0, 100, 10_000] {
            let locked = Sight { locked: true, life: Life::Unknown, ..sight(newest.clone()) };
            assert!(matches!(watch.judge(seconds(now), &locked), Verdict::Wait(_)));
        }
    }
}

#[test]
fn silence_counts_from_what_the_waiter_saw_and_by_the_longer_of_two_times() {
    let mut watch = Watch::new(seconds(5));
    let first = claim(7, record("a", 10));
    assert_eq!(watch.judge(seconds(1000), &sight(Some(first.clone()))), Verdict::Wait(seconds(0)));
    assert_eq!(watch.judge(seconds(1009), &sight(Some(first))), Verdict::Wait(seconds(9)));
    let renewed = claim(7, Record { beat: 1, ..record("a", 10) });
    assert_eq!(watch.judge(seconds(1010), &sight(Some(renewed.clone()))), Verdict::Wait(seconds(0)));
    assert_eq!(watch.judge(seconds(1019), &sight(Some(renewed.clone()))), Verdict::Wait(seconds(9)));
    assert_eq!(watch.judge(seconds(1020), &sight(Some(renewed))), Verdict::Take(8));
    let torn = Claim { epoch: 8, content: b"{".to_vec(), record: None };
    assert_eq!(watch.judge(seconds(2000), &sight(Some(torn.clone()))), Verdict::Wait(seconds(0)));
    assert_eq!(watch.judge(seconds(2059), &sight(Some(torn.clone()))), Verdict::Wait(seconds(59)));
    assert_eq!(watch.judge(seconds(2060), &sight(Some(torn))), Verdict::Take(9));
}

#[test]
fn a_look_that_takes_long_is_nobody_elses_silence() {
    let mut watch = Watch::new(seconds(5));
    let look = |seconds_taken, beat| Sight {
        took: seconds(seconds_taken),
        ..sight(Some(claim(7, Record { beat, ..record("a", 5) })))
    };
    // Its end is what counts where something new was seen, its beginning where nothing was.
    assert_eq!(watch.judge(seconds(0), &look(20, 1)), Verdict::Wait(seconds(0)));
    assert_eq!(watch.judge(seconds(21), &look(30, 1)), Verdict::Wait(seconds(1)));
    assert_eq!(watch.judge(seconds(52), &look(9, 2)), Verdict::Wait(seconds(0)));
    assert_eq!(watch.judge(seconds(65), &look(0, 2)), Verdict::Wait(seconds(4)));
    assert_eq!(watch.judge(seconds(66), &look(0, 2)), Verdict::Take(8));
}

#[test]
fn a_frozen_process_of_this_machine_is_ended_before_anything_is_taken() {
    let mut watch = Watch::new(seconds(3));
    let frozen = Sight { life: Life::Alive, ..sight(Some(claim(7, record("a", 3)))) };
    assert!(matches!(watch.judge(seconds(0), &frozen), Verdict::Wait(_)));
    assert_eq!(watch.judge(seconds(3), &frozen), Verdict::End);
    let locked = Sight { locked: true, ..frozen };
    assert_eq!(watch.judge(seconds(4), &locked), Verdict::End);
    let gone = Sight { life: Life::Gone, locked: false, ..locked };
    assert_eq!(watch.judge(seconds(5), &gone), Verdict::Take(8));
}

#[test]
fn claims_on_disk_are_won_once_and_written_by_their_maker_only() {
    let folder = tempfile::tempdir().unwrap();
    let [a, b] = [true, false].map(|shared| FileBoard::open(folder.path(), shared).unwrap());
    assert_eq!(a.newest().unwrap(), None);
    assert!(a.claim(1, &record("a", 3)).unwrap());
    assert!(!b.claim(1, &record("b", 3)).unwrap());
    assert!(b.write(&record("b", 3)).is_err(), "nothing was won, so there is nothing to write to");
    assert!(!a.is_superseded(1).unwrap());
    assert!(b.claim(2, &record("b", 3)).unwrap());
    assert!(a.is_superseded(1).unwrap());
    a.write(&Record { beat: 9, ..record("a", 3) }).unwrap();
    let newest = b.newest().unwrap().unwrap();
    assert_eq!((newest.epoch, newest.record.unwrap()), (2, record("b", 3)));
    b.tidy(2).unwrap();
    // A late renewal goes into a file without a name.
    a.write(&Record { beat: 10, ..record("a", 3) }).unwrap();
    assert!(a.is_superseded(1).unwrap());
    assert!(!b.is_superseded(2).unwrap());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "drafts and old claims are removed");
}

#[test]
fn a_claim_whose_answer_was_lost_is_won_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let board = FileBoard::open(folder.path(), true).unwrap();
    assert!(board.claim(1, &record("a", 3)).unwrap());
    assert!(board.claim(1, &record("a", 3)).unwrap(), "the same maker asks again");
}

fn options(folder: &std::path::Path) -> LeaseOptions {
    LeaseOptions { folder: folder.to_owned(), locks: vec![folder.join("LOCK")], time: seconds(6) }
}

#[test]
fn folders_go_from_hand_to_hand() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualUptime::default());
    let contender = || Contender::new(options(folder.path()), Arc::<ManualUptime>::clone(&clock)).unwrap();
    let (mut first, mut second) = (contender(), contender());
    let Step::Owned(lease) = first.step(|_| ()).unwrap() else { panic!("nobody else wants it") };
    assert_eq!(lease.epoch(), 1);
    let Step::Waiting(why) = second.step(|_| ()).unwrap() else { panic!("two owners") };
    assert!(why.contains(&format!("process {}", std::process::id())), "{why}");
    lease.release().unwrap();
    assert!(matches!(second.step(|_| ()).unwrap(), Step::Waiting(_)), "given back, but still in use");
    drop(lease);
    let Step::Owned(lease) = second.step(|_| ()).unwrap() else { panic!("it was given back") };
    assert_eq!(lease.epoch(), 2);
    // A store that is open elsewhere keeps others out as well.
    drop(lease);
    let store = std::fs::File::create(folder.path().join("LOCK")).unwrap();
    store.lock().unwrap();
    assert!(matches!(contender().step(|_| ()).unwrap(), Step::Waiting(_)));
}

#[test]
fn a_claim_of_our_own_that_came_to_nothing_is_neither_waited_for_nor_killed_for() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualUptime::default());
    let mut contender = Contender::new(options(folder.path()), Arc::<ManualUptime>::clone(&clock)).unwrap();
    // As on a file server: there a lock that is free proves nothing.
    contender.local = false;
    let own = Record { process: ProcessId::own(), ..record("the first try", 6) };
    assert!(FileBoard::open(&folder.path().join(".lease"), true).unwrap().claim(1, &own).unwrap());
    let Step::Owned(lease) = contender.step(|_| ()).unwrap() else { panic!("it waits for itself") };
    assert_eq!(lease.epoch(), 2);
}

#[test]
fn an_owner_that_cannot_renew_is_told_by_its_own_clock() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualUptime::default());
    let mut contender = Contender::new(options(folder.path()), Arc::<ManualUptime>::clone(&clock)).unwrap();
    let (told, hears) = mpsc::channel();
    let Step::Owned(lease) = contender.step(move |lost| told.send(lost).unwrap()).unwrap() else { panic!("nobody") };
    clock.set(3_999);
    assert_eq!(lease.check(), Ok(()));
    clock.set(5_000);
    assert_eq!(lease.check(), Err(Lost::Overdue));
    assert_eq!(hears.recv_timeout(seconds(60)), Ok(Lost::Overdue));
    clock.set(0);
    assert_eq!(lease.check(), Err(Lost::Overdue), "what is lost stays lost");
}

#[tokio::test]
async fn a_commit_is_confirmed_by_a_look_that_begins_after_it() {
    let board = MemoryBoard::default();
    let clock = Arc::new(ManualUptime::default());
    assert!(board.claim(1, &record("a", 9)).unwrap());
    let lease = Lease::of(Box::new(board.clone()), clock, (1, record("a", 9)), Duration::ZERO, None);
    assert_eq!(lease.confirm().await.unwrap(), Ok(()));
    assert!(board.of_another_process().claim(2, &record("b", 9)).unwrap());
    assert_eq!(lease.check(), Ok(()), "the clock alone does not know");
    let (one, two) = tokio::join!(lease.confirm(), lease.confirm());
    assert_eq!((one.unwrap(), two.unwrap()), (Err(Lost::Superseded), Err(Lost::Superseded)));
    assert_eq!(lease.check(), Err(Lost::Superseded));
}

/// What happens next; numbers name one of the processes.
#[derive(Clone, Debug)]
enum Event {
    /// Time passes, in milliseconds.
    Pass(u64),
    /// A process without the folders looks, or makes the claim it decided on when it looked last.
    Step(usize),
    Renew(usize),
    Check(usize),
    /// A commit becomes durable.
    Write(usize),
    /// It is acknowledged, if the owner may.
    Acknowledge(usize),
    Release(usize),
    /// The process dies and starts again.
    Restart(usize),
}

const PROCESSES: usize = 3;
const TIME: u64 = 9;

fn event() -> impl Strategy<Value = Event> {
    let process = 0..PROCESSES;
    prop_oneof![
        6 => (1_u64..4_000).prop_map(Event::Pass),
        6 => process.clone().prop_map(Event::Step),
        4 => process.clone().prop_map(Event::Renew),
        1 => process.clone().prop_map(Event::Check),
        3 => process.clone().prop_map(Event::Write),
        3 => process.clone().prop_map(Event::Acknowledge),
        1 => process.clone().prop_map(Event::Release),
        1 => process.prop_map(Event::Restart),
    ]
}

#[derive(Debug)]
enum State {
    Waiting(Watch),
    /// Decided to take this epoch, and has not done so yet.
    Deciding(u64),
    Owner {
        lease: Lease,
        epoch: u64,
        written: Option<usize>,
    },
}

#[derive(Debug)]
struct Process {
    board: MemoryBoard,
    clock: Arc<ManualUptime>,
    /// The clock's thousandths of true time.
    rate: u64,
    state: State,
}

/// All that happened, in true order.
#[derive(Debug)]
enum Happened {
    Claimed(u64),
    Wrote,
    Acknowledged { epoch: u64, written: usize },
}

#[derive(Debug)]
struct World {
    processes: Vec<Process>,
    now: u64,
    log: Vec<Happened>,
}

impl World {
    fn new(rates: &[u64]) -> Self {
        let board = MemoryBoard::default();
        let process = |rate: &u64| Process {
            board: board.of_another_process(),
            clock: Arc::default(),
            rate: *rate,
            state: State::Waiting(Watch::new(seconds(TIME))),
        };
        Self { processes: rates.iter().map(process).collect(), now: 0, log: Vec::new() }
    }

    fn happen(&mut self, event: &Event) {
        match *event {
            Event::Pass(millis) => {
                self.now += millis;
                for process in &self.processes {
                    process.clock.set(self.now * process.rate / 1000);
                }
            }
            Event::Step(number) => self.step(number),
            Event::Renew(number) => self.with_owner(number, |lease, _, _, _| lease.renew().unwrap()),
            Event::Check(number) => self.with_owner(number, |lease, _, _, _| {
                lease.check().ok();
            }),
            Event::Write(number) => self.with_owner(number, |lease, _, written, log| {
                if lease.check().is_ok() {
                    *written = Some(log.len());
                    log.push(Happened::Wrote);
                }
            }),
            // What `confirm` does, without threads: a look, then the clock.
            Event::Acknowledge(number) => self.with_owner(number, |lease, epoch, written, log| {
                let Some(written) = written.take() else { return };
                lease.look().unwrap();
                if lease.check().is_ok() {
                    log.push(Happened::Acknowledged { epoch, written });
                }
            }),
            Event::Release(number) => {
                self.with_owner(number, |lease, _, _, _| lease.release().unwrap());
                self.restart(number);
            }
            Event::Restart(number) => self.restart(number),
        }
    }

    fn restart(&mut self, number: usize) {
        let process = &mut self.processes[number];
        process.board = process.board.of_another_process();
        process.state = State::Waiting(Watch::new(seconds(TIME)));
    }

    fn with_owner(&mut self, number: usize, act: impl FnOnce(&Lease, u64, &mut Option<usize>, &mut Vec<Happened>)) {
        if let State::Owner { lease, epoch, written } = &mut self.processes[number].state {
            act(lease, *epoch, written, &mut self.log);
        }
    }

    /// Looks; or claims what a look long ago allowed: a process may stall in between.
    fn step(&mut self, number: usize) {
        let process = &mut self.processes[number];
        let now = process.clock.now();
        match &mut process.state {
            State::Waiting(watch) => {
                // No lock holds, and nobody knows who lives: the lease is by itself.
                if let Verdict::Take(epoch) = watch.judge(now, &sight(process.board.newest().unwrap())) {
                    process.state = State::Deciding(epoch);
                }
            }
            State::Deciding(epoch) => {
                let (epoch, name) = (*epoch, format!("{number} at {}", self.now));
                let record = record(&name, TIME);
                if !process.board.claim(epoch, &record).unwrap() {
                    process.state = State::Waiting(Watch::new(seconds(TIME)));
                    return;
                }
                self.log.push(Happened::Claimed(epoch));
                process.board.tidy(epoch).unwrap();
                let clock: Arc<dyn Uptime> = Arc::<ManualUptime>::clone(&process.clock);
                let lease = Lease::of(Box::new(process.board.clone()), clock, (epoch, record), now, None);
                process.state = State::Owner { lease, epoch, written: None };
            }
            State::Owner { lease, .. } => {
                if lease.check().is_err() {
                    self.restart(number);
                }
            }
        }
    }

    /// How many processes would use the folders now.
    fn owners(&self) -> usize {
        let owns = |process: &&Process| matches!(&process.state, State::Owner { lease, .. } if lease.would_hold());
        self.processes.iter().filter(owns).count()
    }

    /// Whether each acknowledged commit was there before anybody else opened the stores.
    fn acknowledged_commits_are_seen_by_successors(&self) -> bool {
        self.log.iter().all(|happened| {
            let Happened::Acknowledged { epoch, written } = happened else { return true };
            let earlier = &self.log[..*written];
            !earlier.iter().any(|before| matches!(before, Happened::Claimed(later) if later > epoch))
        })
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn there_are_never_two_owners_while_clocks_agree_within_a_tenth(
        rates in prop::collection::vec(900_u64..=1100, PROCESSES),
        events in prop::collection::vec(event(), 1..120),
    ) {
        let mut world = World::new(&rates);
        for event in &events {
            world.happen(event);
            prop_assert!(world.owners() <= 1, "two owners after {event:?}");
        }
        prop_assert!(world.acknowledged_commits_are_seen_by_successors());
    }

    #[test]
    fn what_is_acknowledged_stays_even_if_all_clocks_are_wrong(
        rates in prop::collection::vec(0_u64..=10_000, PROCESSES),
        events in prop::collection::vec(event(), 1..120),
    ) {
        let mut world = World::new(&rates);
        for event in &events {
            world.happen(event);
        }
        prop_assert!(world.acknowledged_commits_are_seen_by_successors(), "{:?}", world.log);
    }

    #[test]
    fn records_come_back_as_they_were_written(pid in any::<u32>(), beat in any::<u64>(), host in "\\PC{0,60}") {
        let process = ProcessId { host, pid, ..ProcessId::own() };
        let record = Record { process, beat, ..record("someone", 15) };
        prop_assert!(Record::parse(&record.to_bytes().unwrap()) == Some(record));
    }
}

#[test]
fn this_process_is_alive_to_itself_and_its_like_on_another_machine_unknown() {
    let me = ProcessId::own();
    assert_eq!(me.life_of(&me), Life::Alive);
    assert_eq!(me.life_of(&ProcessId { started: me.started + 1, ..me.clone() }), Life::Gone);
    assert_eq!(me.life_of(&ProcessId { boot: "another".to_owned(), ..me.clone() }), Life::Unknown);
    assert_eq!(me.life_of(&ProcessId { namespace: "another".to_owned(), ..me.clone() }), Life::Unknown);
}

#[test]
fn the_machines_clock_goes_on() {
    let begin = super::SystemUptime.now();
    assert!(begin > Duration::ZERO);
    assert!(super::SystemUptime.now() >= begin);
}
