//! Turns events into lines.

use std::{cell::RefCell, error::Error, fmt, fmt::Write};

use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{Layer, layer::Context};

use super::Now;
use crate::telemetry::{LineSink, json, request_scope};

thread_local! {
    static LINE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// The layer that writes events to a sink.
pub(super) struct Lines {
    sink: LineSink,
    now: Now,
    pretty: bool,
}

impl Lines {
    pub(super) fn new(sink: LineSink, now: Now, pretty: bool) -> Self {
        Self { sink, now, pretty }
    }
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        LINE.with(|line| {
            // A value that logs while it is being formatted gets a buffer of its own.
            let mut nested = String::new();
            let mut borrowed = line.try_borrow_mut();
            let line = borrowed.as_deref_mut().unwrap_or(&mut nested);
            line.clear();
            let now = self.now.get().to_iso8601();
            request_scope::with_current(|request| {
                if self.pretty { pretty(event, &now, request, line) } else { structured(event, &now, request, line) }
            });
            self.sink.push(line);
        });
        // An error may be the last thing this process says.
        if *event.metadata().level() == Level::ERROR {
            self.sink.hurry();
        }
    }
}

/// A JSON object: time, level, where from, request, message, fields.
fn structured(event: &Event<'_>, now: &str, request: Option<&str>, line: &mut String) {
    let level = match *event.metadata().level() {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    };
    let mut object = json::Object::open(line);
    object.text("time", now);
    object.text("level", level);
    object.text("name", event.metadata().target());
    object.maybe("req_id", request);
    event.record(&mut Structured(&mut object));
    object.close();
}

struct Structured<'a, 'b>(&'a mut json::Object<'b>);

impl Visit for Structured<'_, '_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.display(field.name(), format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.text(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.plain(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.plain(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.plain(field.name(), value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.0.display(field.name(), format_args!("{}", Chain(value)));
    }
}

/// `08:49:37.000  WARN message field=value req_id=…`, the level in colour.
fn pretty(event: &Event<'_>, now: &str, request: Option<&str>, line: &mut String) {
    let (colour, level) = match *event.metadata().level() {
        Level::ERROR => ("31", "ERROR"),
        Level::WARN => ("33", " WARN"),
        Level::INFO => ("32", " INFO"),
        Level::DEBUG => ("34", "DEBUG"),
        Level::TRACE => ("35", "TRACE"),
    };
    let clock = now.split_once('T').map_or(now, |(_, clock)| clock).trim_end_matches('Z');
    // Writing to a string cannot fail.
    let _ = write!(line, "{clock} \u{1b}[{colour}m{level}\u{1b}[0m");
    event.record(&mut Pretty(line));
    if let Some(request) = request {
        let _ = write!(line, " req_id={request}");
    }
}

struct Pretty<'a>(&'a mut String);

impl Pretty<'_> {
    /// Texts of users are quoted, so that no byte of them reaches a terminal as an order.
    fn field(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.0.push(' ');
            json::escape(self.0, value);
        } else {
            self.0.push(' ');
            self.0.push_str(field.name());
            self.0.push('=');
            json::quote(self.0, value);
        }
    }

    fn plain(&mut self, field: &Field, value: impl fmt::Display) {
        let _ = write!(self.0, " {}={value}", field.name());
    }
}

impl Visit for Pretty<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.field(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.field(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.plain(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.plain(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.plain(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.field(field, &Chain(value).to_string());
    }
}

/// An error and what caused it.
struct Chain<'a>(&'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}
