//! What the command line accepts and shows.

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use super::{Arguments, Command, check_config, serve};
use crate::config::{Launch, LogFormat, LogLevel, Options, Role};

fn parse(words: &[&str]) -> Result<Arguments, clap::Error> {
    Arguments::try_parse_from([&["cloudserver"], words].concat())
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

#[test]
fn definition_of_the_arguments_is_sound() {
    Arguments::command().debug_assert();
}

#[test]
fn serving_is_what_it_does_without_a_word() {
    assert_eq!(parse(&[]).unwrap().chosen(), Command::Serve);
    assert_eq!(parse(&["serve", "--port", "1"]).unwrap().chosen(), Command::Serve);
    assert_eq!(parse(&["--port", "1", "check-config"]).unwrap().chosen(), Command::CheckConfig);
    assert_eq!(parse(&[]).unwrap().into_options(), Options::default());
}

#[test]
fn options_arrive() {
    let words = "check-config --config c --port 9 --listen 127.0.0.1:0,[::1]:1 --listen 0.0.0.0:2 --data d --metadata m \
                 --log-level warn --log-format json --production --take-over-after 5 --role data";
    let options = parse(&words.split_whitespace().collect::<Vec<_>>()).unwrap().into_options();
    let expected = Options {
        config: Some("c".into()),
        port: Some(9),
        listen: ["127.0.0.1:0", "[::1]:1", "0.0.0.0:2"].map(|address| address.parse().unwrap()).into(),
        data: Some("d".into()),
        metadata: Some("m".into()),
        log_level: Some(LogLevel::Warn),
        log_format: Some(LogFormat::Json),
        production: true,
        take_over_after: Some(5),
        role: Some(Role::Data),
    };
    assert_eq!(options, expected);
}

#[test]
fn wrong_arguments_are_refused_with_what_would_do() {
    for (words, hint) in [
        (["--log-level", "loud"], "trace, debug, info, warn, error, fatal"),
        (["--log-format", "xml"], "auto, json, pretty"),
        (["--listen", "localhost"], "--listen <IP:PORT>"),
        (["--port", "65536"], "65535"),
        (["--take-over-after", "4"], "5..=3600"),
        (["--role", "king"], "all, front, data, metadata"),
    ] {
        let error = parse(&words).unwrap_err().to_string();
        assert!(error.contains(hint), "{hint:?} is not in {error}");
    }
}

#[test]
fn help_has_examples_and_the_main_variables() {
    let help = Arguments::command().render_long_help().to_string();
    for part in ["Examples:", "SCALITY_ACCESS_KEY_ID", "S3DATAPATH", "ENDPOINT", "check-config", "authdata.json"] {
        assert!(help.contains(part), "{part:?} is not in the help");
    }
    assert!(help.lines().all(|line| line.chars().count() <= 100));
}

#[test]
fn check_config_shows_what_is_served_where_without_secrets() {
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let launch = Launch { container: true, ..Launch::default() };
    assert_eq!(check_config(&launch, &mut output, &mut errors), ExitCode::SUCCESS);
    let shown = text(output);
    for part in [
        "http://[::]:8000 (every interface)",
        "Host names\n",
        "s3-website.scality.test                  (websites)",
        "location-dmf-v1            dmf            -",
        "us-east-1                  file           localData      strict      legacy AWS behaviour",
        "Bart         123456789012  sampleaccount1@sampling.com  accessKey1",
        "Clueso       123456789014  inspector@clueso.info        (none that can sign)",
        "Warnings\n  the secrets of access keys accessKey1, accessKey2 are public knowledge",
        "The server would start with this configuration.\n",
    ] {
        assert!(shown.contains(part), "{part:?} is not in\n{shown}");
    }
    assert!(!shown.contains("ecretKey"));
    assert_eq!(text(errors), "");
}

#[test]
fn check_config_fails_with_the_error_and_what_to_do_next() {
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let environment = [("S3BACKEND", "disk")].into_iter().collect();
    let launch = Launch { environment, ..Launch::default() };
    assert_eq!(check_config(&launch, &mut output, &mut errors), ExitCode::FAILURE);
    let told = text(errors);
    assert!(told.starts_with("S3BACKEND environment variable should be one of mem/file/scality/cdmi"), "{told}");
    assert!(told.ends_with("then run `cloudserver check-config` again.\n"), "{told}");
    assert_eq!(text(output), "");
}

#[test]
fn serve_hands_a_good_configuration_over_and_explains_a_bad_one() {
    let mut errors = Vec::new();
    let code = serve(&Launch::default(), |config| ExitCode::from(u8::from(config.sigv2) + 6), &mut errors);
    assert_eq!((code, text(errors)), (ExitCode::from(7), String::new()));
    let mut errors = Vec::new();
    let options = Options { production: true, ..Options::default() };
    let code = serve(&Launch { options, ..Launch::default() }, |_| ExitCode::SUCCESS, &mut errors);
    assert_eq!(code, ExitCode::FAILURE);
    assert!(text(errors).starts_with("bad config: production mode refuses the shipped credentials"));
}
