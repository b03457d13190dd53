//! Clients that stall, drip, or wait for a slow server.

use super::*;

fn pace(idle: u64, min_rate: u64, window: u64) -> Intake {
    let (idle, window) = (Duration::from_millis(idle), Duration::from_millis(window));
    Intake::new(Pace { idle, min_rate, window }, 1)
}

fn send(length: usize) -> Step {
    Step::Send(Bytes::from(payload(length)))
}

#[test]
fn a_silent_client_times_out() {
    for steps in [vec![Step::Hang], vec![send(100), Step::Hang]] {
        let sent = steps.len() * 100 - 100;
        let body = pace(50, 0, 0).accept(Script::new(steps), Plan { length: Some(1000), ..Plan::default() });
        let seen = RUNTIME.block_on(drain(body));
        assert_eq!(seen.verdict, Err(BodyError::TimedOut));
        assert_eq!(seen.bytes.len(), sent);
    }
}

#[test]
fn a_client_that_pauses_within_the_limit_is_waited_for() {
    let steps = (0..15).flat_map(|_| [Step::Sleep(Duration::from_millis(50)), send(100)]);
    let body = pace(500, 0, 0).accept(Script::new(steps), Plan::default());
    // Longer in all than one silence may be.
    assert_eq!(RUNTIME.block_on(drain(body)).bytes.len(), 1500);
}

#[test]
fn a_client_that_drips_times_out_though_never_silent() {
    let steps = (0..1000).flat_map(|_| [Step::Sleep(Duration::from_millis(10)), send(1)]);
    let body = pace(5000, 10_000, 100).accept(Script::new(steps), Plan::default());
    let seen = RUNTIME.block_on(drain(body));
    assert_eq!(seen.verdict, Err(BodyError::TimedOut));
    assert!(seen.bytes.len() < 100, "{} bytes", seen.bytes.len());
}

#[test]
fn a_client_fast_enough_is_not_stopped_by_the_rate() {
    let steps = (0..30).flat_map(|_| [Step::Sleep(Duration::from_millis(10)), send(50_000)]);
    let body = pace(60_000, 10_000, 50).accept(Script::new(steps), Plan::default());
    assert_eq!(RUNTIME.block_on(drain(body)).bytes.len(), 1_500_000);
}

#[test]
fn time_the_server_takes_is_not_the_clients() {
    let steps = (0..3).flat_map(|_| [Step::Yield, send(1)]);
    let mut body = pace(250, 1_000_000, 250).accept(Script::new(steps), Plan::default());
    let taken = RUNTIME.block_on(async {
        let mut taken = 0;
        while let Some(slice) = body.stream.next().await {
            taken += slice.expect("the client is never slow").len();
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        taken
    });
    assert_eq!(taken, 3);
}

#[test]
fn limits_without_end_do_not_overflow() {
    let endless = Intake::new(Pace { idle: Duration::MAX, min_rate: u64::MAX, window: Duration::MAX }, 1);
    let steps = [Step::Sleep(Duration::from_millis(5)), send(10), Step::Sleep(Duration::from_millis(5)), send(10)];
    let body = endless.accept(Script::new(steps), Plan::default());
    assert_eq!(RUNTIME.block_on(drain(body)).bytes.len(), 20);
}
