//! Where the helper's words go: into systemd's journal, with the fields CONTAINER
//! and JOB, or to standard error.

use crate::linux::journal::{Journal, Priority};
use std::fmt::{Debug, Write as _};
use std::io::{self, Write as _};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, fmt, registry};

/// Call it once. `RUST_LOG` chooses what is told; `info` if unset.
pub(crate) fn begin() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let registry = registry().with(filter);
    match Journal::where_used() {
        Some(journal) => registry.with(ToJournal(journal)).init(),
        None => {
            let to_stderr = fmt::layer().with_writer(io::stderr).with_ansi(false);
            registry.with(to_stderr).init();
        }
    }
}

struct ToJournal(Journal);

/// What an event says, or a span says of all events in it.
#[derive(Default)]
struct Words {
    message: String,
    /// The other values: ` name=value` each.
    values: String,
    container: String,
    job: String,
}

impl Words {
    fn add(&mut self, field: &Field, text: &str) {
        match field.name() {
            "message" => return self.message.push_str(text),
            "container" => text.clone_into(&mut self.container),
            "job" => text.clone_into(&mut self.job),
            _ => {}
        }
        if !text.is_empty() {
            // Writing to a string cannot fail.
            write!(self.values, " {}={text}", field.name()).unwrap_or_default();
        }
    }
}

impl Visit for Words {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.add(field, &format!("{value:?}"));
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for ToJournal {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut words = Words::default();
        attributes.record(&mut words);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(words);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut words = Words::default();
        event.record(&mut words);
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(around) = span.extensions().get::<Words>() {
                inherit(&mut words.container, &around.container);
                inherit(&mut words.job, &around.job);
            }
        }
        let priority = match *event.metadata().level() {
            Level::ERROR => Priority::Error,
            Level::WARN => Priority::Warning,
            Level::INFO => Priority::Info,
            _ => Priority::Debug,
        };
        let mut fields = vec![("TARGET", event.metadata().target())];
        let named = [("CONTAINER", &words.container), ("JOB", &words.job)];
        fields.extend(
            named
                .iter()
                .filter(|(_, value)| !value.is_empty())
                .map(|(name, value)| (*name, value.as_str())),
        );
        let message = format!("{}{}", words.message, words.values);
        if let Err(error) = self.0.write(priority, &message, &fields) {
            // Standard error goes to the journal by another way.
            writeln!(io::stderr(), "{message} (and: {error})").unwrap_or_default();
        }
    }
}

fn inherit(value: &mut String, around: &str) {
    if value.is_empty() {
        around.clone_into(value);
    }
}
