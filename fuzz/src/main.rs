//! libFuzzer in front of a target of `cloudserver::fuzzing`, which `FUZZ_TARGET` names.

#![no_main]

use std::{env, sync::LazyLock};

use cloudserver::fuzzing::{Target, target};

static CHOSEN: LazyLock<&Target> = LazyLock::new(|| {
    let name = env::var("FUZZ_TARGET").expect("FUZZ_TARGET names a target");
    target(&name).unwrap_or_else(|| panic!("there is no target {name}"))
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| (CHOSEN.run)(data));
