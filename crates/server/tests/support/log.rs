//! Every log line of a test, and the promise that none of them holds a secret.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};

/// Collects on this thread: the tests run their service on one thread.
pub struct Log {
    lines: Arc<Mutex<Vec<String>>>,
    forbidden: Mutex<Vec<String>>,
    _guard: tracing::subscriber::DefaultGuard,
}

struct Collector(Arc<Mutex<Vec<String>>>);

impl Log {
    pub fn start() -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let subscriber = tracing_subscriber::registry().with(Collector(lines.clone()));
        Self {
            lines,
            forbidden: Mutex::new(vec!["PRIVATE KEY".into(), "Bearer ey".into(), "eyJ".into()]),
            _guard: tracing::subscriber::set_default(subscriber),
        }
    }

    /// This text must appear in no line.
    pub fn forbid(&self, secret: &str) {
        if secret.len() >= 16 {
            self.forbidden.lock().unwrap().push(secret.to_owned());
        }
    }

    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// Lines at INFO and above since `from`, of our own crates; those that keep the books of CoAP sessions left out.
    pub fn since(&self, from: usize) -> Vec<String> {
        self.lines()[from..]
            .iter()
            .filter(|line| line.starts_with("INFO") || line.starts_with("WARN"))
            .filter(|line| !line.contains("CoAP session"))
            .cloned()
            .collect()
    }

    pub fn len(&self) -> usize {
        self.lines.lock().unwrap().len()
    }

    pub fn assert_clean(&self) {
        for line in self.lines() {
            for secret in self.forbidden.lock().unwrap().iter() {
                assert!(
                    !line.contains(secret.as_str()),
                    "a secret in a log line: {line}"
                );
            }
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.assert_clean();
        }
    }
}

impl<S: Subscriber> Layer<S> for Collector {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if !event.metadata().target().starts_with("sectag") {
            return;
        }
        struct Line(String);
        impl Visit for Line {
            fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                let _ = write!(self.0, " {}={value:?}", field.name());
            }
        }
        let level = match *event.metadata().level() {
            Level::ERROR | Level::WARN => "WARN",
            Level::INFO => "INFO",
            _ => "DEBUG",
        };
        let mut line = Line(level.to_owned());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }
}
