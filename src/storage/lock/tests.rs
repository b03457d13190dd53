//! The table of the rules, and that no accepted change weakens what nobody may weaken.

use proptest::{
    option,
    prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, proptest},
    prop_oneof,
};

use super::*;

const DAY: u64 = 86_400;
/// What the clock shows.
const NOW: u64 = 1000 * DAY;

fn at(days: u64) -> Timestamp {
    Timestamp::from_secs(days * DAY)
}

fn times() -> Times {
    Times { now: at(1000), start: at(1000) }
}

fn retained(mode: Mode, days: u64) -> Lock {
    Lock { mode: Some(mode), until: Some(at(days)), ..Lock::default() }
}

fn asked(mode: Mode, days: u64) -> RetentionChange {
    RetentionChange { mode: Some(mode), until: Some(at(days)), ..RetentionChange::default() }
}

fn held(mode: Option<Mode>, days: u32) -> Lock {
    Lock { mode, event_hold: Hold::On, duration: Some(Period::Days(days)), ..Lock::default() }
}

fn release() -> RetentionChange {
    RetentionChange { event_hold: Some(false), ..RetentionChange::default() }
}

fn removed(lock: Lock, now: Timestamp, bypass: Bypass) -> bool {
    let mut record = ObjectRecord::default();
    lock.write(&mut record);
    Leave { now, bypass }.remove(&record).is_ok()
}

#[test]
fn a_version_goes_when_nothing_protects_it() {
    use Mode::{Compliance, Governance};
    let legal = |lock: Lock| Lock { legal_hold: Hold::On, ..lock };
    let lifted = |lock: Lock| Lock { legal_hold: Hold::Off, ..lock };
    for (lock, plainly, with_bypass) in [
        (Lock::default(), true, true),
        (lifted(Lock::default()), true, true),
        (legal(Lock::default()), false, false),
        (retained(Governance, 1001), false, true),
        (legal(retained(Governance, 1001)), false, false),
        (retained(Compliance, 1001), false, false),
        (lifted(retained(Compliance, 1001)), false, false),
        (retained(Governance, 1000), true, true),
        (retained(Compliance, 1000), true, true),
        (legal(retained(Compliance, 1000)), false, false),
        (held(None, 1), false, false),
        (held(Some(Governance), 1), false, false),
        (held(Some(Compliance), 1), false, false),
        (Lock { until: Some(at(1)), ..held(Some(Compliance), 1) }, false, false),
    ] {
        assert_eq!(removed(lock, at(1000), Bypass::No), plainly, "{lock:?}");
        assert_eq!(removed(lock, at(1000), Bypass::Governance), with_bypass, "{lock:?} with bypass");
    }
    // To the millisecond.
    let lock = retained(Compliance, 1000);
    assert!(!removed(lock, Timestamp::from_millis(NOW * 1000 - 1), Bypass::Governance));
    assert!(removed(lock, Timestamp::from_millis(NOW * 1000), Bypass::No));
}

#[test]
fn a_lock_that_cannot_be_read_locks_for_good() {
    let broken: [fn(&mut ObjectRecord); 9] = [
        |record| record.retention_mode = 3,
        |record| record.retention_mode = 1,
        |record| record.retain_until_ms = 1,
        |record| record.legal_hold = 3,
        |record| record.event_hold = 1,
        |record| record.event_hold = 7,
        |record| record.event_hold_duration = Some(PeriodRecord { days: Some(1), years: None }),
        |record| {
            record.event_hold = 1;
            record.event_hold_duration = Some(PeriodRecord { days: Some(1), years: Some(1) });
        },
        |record| {
            record.event_hold = 1;
            record.event_hold_duration = Some(PeriodRecord { days: Some(0), years: None });
        },
    ];
    for (index, spoil) in broken.into_iter().enumerate() {
        let mut record = ObjectRecord::default();
        spoil(&mut record);
        let leave = Leave { now: Timestamp::from_millis(u64::MAX), bypass: Bypass::Governance };
        assert!(matches!(leave.remove(&record), Err(LockError::Protected)), "{index}");
    }
}

/// What comes of a change, plainly and with bypass.
type Both = [Result<(), LockError>; 2];

const YES: Both = [Ok(()), Ok(())];
const BYPASS: Both = [Err(LockError::Protected), Ok(())];
const NO: Both = [Err(LockError::Protected), Err(LockError::Protected)];

#[test]
fn retention_changes_by_the_table() {
    use Mode::{Compliance, Governance};
    let removal = RetentionChange::default();
    for (lock, asked, expected) in [
        (Lock::default(), asked(Governance, 1001), YES),
        (Lock::default(), asked(Compliance, 1001), YES),
        (Lock::default(), removal, YES),
        (retained(Governance, 1010), asked(Governance, 1010), YES),
        (retained(Governance, 1010), asked(Governance, 1011), YES),
        (retained(Governance, 1010), asked(Governance, 1009), BYPASS),
        (retained(Governance, 1010), asked(Compliance, 1010), BYPASS),
        (retained(Governance, 1010), asked(Compliance, 1009), BYPASS),
        (retained(Governance, 1010), removal, BYPASS),
        (retained(Compliance, 1010), asked(Compliance, 1010), YES),
        (retained(Compliance, 1010), asked(Compliance, 1011), YES),
        (retained(Compliance, 1010), asked(Compliance, 1009), NO),
        (retained(Compliance, 1010), asked(Governance, 1011), NO),
        (retained(Compliance, 1010), removal, NO),
        // What is over may be changed in any way.
        (retained(Governance, 1000), asked(Governance, 1001), YES),
        (retained(Compliance, 1000), asked(Governance, 1001), YES),
        (retained(Compliance, 1000), removal, YES),
        (Lock::default(), asked(Governance, 1000), [Err(LockError::PastDate); 2]),
        (retained(Compliance, 1010), asked(Compliance, 999), [Err(LockError::PastDate); 2]),
        // Under an event hold nothing is over.
        (Lock { until: Some(at(1)), ..held(Some(Compliance), 5) }, asked(Governance, 1001), NO),
        (Lock { until: Some(at(1)), ..held(Some(Governance), 5) }, removal, BYPASS),
        (held(None, 5), removal, YES),
        (held(None, 5), asked(Compliance, 1001), YES),
    ] {
        let both = [Bypass::No, Bypass::Governance].map(|bypass| lock.change(&asked, times(), bypass));
        assert_eq!(both.map(|result| result.map(drop)), expected, "{lock:?} {asked:?}");
        for next in both.into_iter().flatten() {
            assert_eq!((next.mode, next.until), (asked.mode, asked.until), "{lock:?} {asked:?}");
            assert_eq!((next.legal_hold, next.event_hold), (lock.legal_hold, lock.event_hold));
        }
    }
}

#[test]
fn an_event_hold_is_put_on_and_released() {
    use Mode::{Compliance, Governance};
    let put = |days| RetentionChange {
        event_hold: Some(true),
        duration: Some(Period::Days(days)),
        ..RetentionChange::default()
    };
    let plain = |lock: Lock, asked: RetentionChange| lock.change(&asked, times(), Bypass::No);
    let bypassed = |lock: Lock, asked: RetentionChange| lock.change(&asked, times(), Bypass::Governance);
    assert_eq!(plain(Lock::default(), put(5)), Ok(held(None, 5)));
    let lock = retained(Compliance, 1010);
    assert_eq!(plain(lock, put(5)), Ok(Lock { event_hold: Hold::On, duration: Some(Period::Days(5)), ..lock }));
    let no_duration = RetentionChange { duration: None, ..put(5) };
    assert_eq!(plain(Lock::default(), no_duration), Err(LockError::Incomplete));
    assert_eq!(plain(held(None, 5), no_duration), Ok(held(None, 5)));
    let only_duration = RetentionChange { event_hold: None, ..put(5) };
    assert_eq!(plain(Lock::default(), only_duration), Err(LockError::Incomplete));
    assert_eq!(plain(held(None, 4), only_duration), Ok(held(None, 5)));
    let mode_alone = RetentionChange { mode: Some(Governance), ..RetentionChange::default() };
    assert_eq!(plain(Lock::default(), mode_alone), Err(LockError::Incomplete));

    // A shorter duration is weaker.
    for (mode, plainly, with_bypass) in
        [(None, false, true), (Some(Governance), false, true), (Some(Compliance), false, false)]
    {
        assert_eq!(plain(held(mode, 6), put(5)).is_ok(), plainly, "{mode:?}");
        assert_eq!(bypassed(held(mode, 6), put(5)).is_ok(), with_bypass, "{mode:?}");
        let early = RetentionChange { event_hold: Some(false), ..put(5) };
        assert_eq!(plain(held(mode, 6), early).is_ok(), plainly, "{mode:?}");
        assert_eq!(bypassed(held(mode, 6), early).is_ok(), with_bypass, "{mode:?}");
        assert_eq!(plain(held(mode, 4), put(5)), Ok(held(mode, 5)));
    }

    // The retention of its duration begins with the release, and never shortens another.
    let after = |mode, days| Lock { event_hold: Hold::Off, ..retained(mode, days) };
    assert_eq!(plain(held(None, 5), release()), Ok(after(Governance, 1005)));
    assert_eq!(plain(held(Some(Compliance), 5), release()), Ok(after(Compliance, 1005)));
    let long = Lock { until: Some(at(1010)), ..held(Some(Compliance), 5) };
    assert_eq!(plain(long, release()), Ok(after(Compliance, 1010)));
    let strict = RetentionChange { mode: Some(Compliance), ..release() };
    assert_eq!(plain(held(None, 5), strict), Ok(after(Compliance, 1005)));
    assert_eq!(plain(Lock::default(), release()), Ok(Lock { event_hold: Hold::Off, ..Lock::default() }));
    let ahead = Times { start: at(1100), ..times() };
    assert_eq!(held(None, 5).change(&release(), ahead, Bypass::No), Ok(after(Governance, 1105)));
}

#[test]
fn new_versions_get_the_default_where_they_ask_for_nothing() {
    let start = at(1000);
    let days = |days| Some(Period::Days(days).record());
    let retention = ObjectLockRecord { mode: 2, period: days(3), event_hold: None };
    let both = ObjectLockRecord { event_hold: days(7), ..retention };
    let hold = ObjectLockRecord { event_hold: days(7), ..ObjectLockRecord::default() };
    let of = |lock: Lock, default: &ObjectLockRecord| lock.with_default(default, start).unwrap();

    let by_default = retained(Mode::Compliance, 1003);
    let holding = |lock: Lock| Lock { event_hold: Hold::On, duration: Some(Period::Days(7)), ..lock };
    assert_eq!(of(Lock::default(), &ObjectLockRecord::default()), Lock::default());
    assert_eq!(of(Lock::default(), &retention), by_default);
    assert_eq!(of(Lock::default(), &both), holding(by_default));
    assert_eq!(of(Lock::default(), &hold), holding(Lock::default()));
    let own = retained(Mode::Governance, 1001);
    assert_eq!(of(own, &both), own);
    let legal = Lock { legal_hold: Hold::On, ..Lock::default() };
    assert_eq!(of(legal, &retention), Lock { legal_hold: Hold::On, ..by_default });
    let refused = Lock { event_hold: Hold::Off, ..Lock::default() };
    assert_eq!(of(refused, &both), Lock { event_hold: Hold::Off, ..by_default });
    for lock in [Lock::default(), own, legal, refused] {
        for default in [&retention, &both, &hold] {
            assert_eq!(of(of(lock, default), default), of(lock, default), "twice is once");
        }
    }
    for broken in [
        ObjectLockRecord { mode: 9, ..retention },
        ObjectLockRecord { period: None, ..retention },
        ObjectLockRecord { mode: 0, ..retention },
        ObjectLockRecord { period: Some(PeriodRecord::default()), ..retention },
    ] {
        assert!(Lock::default().with_default(&broken, start).is_err(), "{broken:?}");
    }
}

#[test]
fn a_new_version_asks_for_what_can_be() {
    let start = at(1000);
    assert_eq!(retained(Mode::Governance, 1001).check_new(start), Ok(()));
    assert_eq!(retained(Mode::Governance, 1000).check_new(start), Err(LockError::PastDate));
    assert_eq!(Lock { until: None, ..retained(Mode::Governance, 1) }.check_new(start), Err(LockError::Incomplete));
    assert_eq!(Lock { mode: None, ..retained(Mode::Governance, 1001) }.check_new(start), Err(LockError::Incomplete));
    assert_eq!(held(None, 1).check_new(start), Ok(()));
    assert_eq!(Lock { duration: None, ..held(None, 1) }.check_new(start), Err(LockError::Incomplete));
}

#[test]
fn object_lock_needs_versioning_and_stays() {
    use Versioning::{Enabled, Suspended, Unversioned};

    let bucket = |versioning: Versioning, lock: bool| BucketRecord {
        versioning: versioning.into(),
        object_lock: lock.then(ObjectLockRecord::default),
        ..BucketRecord::default()
    };
    for state in [Unversioned, Enabled, Suspended] {
        let fits = state == Enabled;
        for before in [None, Some(&bucket(state, false)), Some(&bucket(Enabled, true))] {
            assert_eq!(check_bucket(before, &bucket(state, true)).is_ok(), fits, "{before:?}");
        }
        assert!(check_bucket(Some(&bucket(Enabled, false)), &bucket(state, false)).is_ok());
        assert_eq!(check_bucket(Some(&bucket(Enabled, true)), &bucket(state, false)), Err(LockError::BucketState));
    }
}

fn mode() -> impl Strategy<Value = Mode> {
    prop_oneof![Just(Mode::Governance), Just(Mode::Compliance)]
}

fn date() -> impl Strategy<Value = Timestamp> {
    (990..1030_u64).prop_map(at)
}

fn period() -> impl Strategy<Value = Period> {
    prop_oneof![(1..40_u32).prop_map(Period::Days), (1..3_u32).prop_map(Period::Years)]
}

fn change() -> impl Strategy<Value = RetentionChange> {
    (option::of(mode()), option::of(date()), option::of(any::<bool>()), option::of(period()))
        .prop_map(|(mode, until, event_hold, duration)| RetentionChange { mode, until, event_hold, duration })
}

fn lock() -> impl Strategy<Value = Lock> {
    let hold = || prop_oneof![Just(Hold::Never), Just(Hold::On), Just(Hold::Off)];
    (option::of(mode()), option::of(date()), hold(), hold(), option::of(period()))
        .prop_map(|(mode, until, legal_hold, event_hold, duration)| Lock {
            mode,
            until,
            legal_hold,
            event_hold,
            duration,
        })
        .prop_filter("complete", Lock::is_complete)
}

fn bypass() -> impl Strategy<Value = Bypass> {
    prop_oneof![Just(Bypass::No), Just(Bypass::Governance)]
}

proptest! {
    #[test]
    fn a_lock_reads_back_from_its_record(lock in lock()) {
        let mut record = ObjectRecord::default();
        lock.write(&mut record);
        prop_assert_eq!(Lock::read(&record).unwrap(), lock);
    }

    /// Followed to the end of time: whatever is accepted protects as long as what was there, as strictly.
    #[test]
    fn no_change_weakens_what_may_not_be_weakened(
        lock in lock(), change in change(), bypass in bypass(), now in date(), ahead in 0..20_u64,
    ) {
        let times = Times { now, start: Timestamp::from_millis(now.as_millis() + ahead * DAY * 1000) };
        let Ok(next) = lock.change(&change, times, bypass) else { return Ok(()) };
        prop_assert!(next.is_complete());
        prop_assert_eq!(next.legal_hold, lock.legal_hold);
        let strict = lock.mode == Some(Mode::Compliance);
        if bypass == Bypass::Governance && !strict {
            return Ok(());
        }
        for day in 990..2100 {
            let then = at(day);
            let (was, is) = (lock.protection(then), next.protection(then));
            let (was, is) = (was as u8, is as u8);
            let released = lock.event_hold == Hold::On && next.event_hold == Hold::Off;
            if then >= now && !released {
                prop_assert!(is >= was, "{:?} on day {}", next, day);
            }
            // A released hold protects for its whole duration.
            let duration = lock.duration.filter(|_| released);
            if then >= now && duration.is_some_and(|duration| then < duration.after(times.start)) {
                prop_assert!(is >= if strict { 2 } else { 1 }, "{:?} on day {}", next, day);
            }
        }
    }
}
