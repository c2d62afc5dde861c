//! Logging set-up: one subscriber per process, to standard error.

use crate::Error;
use std::io::IsTerminal;
use std::str::FromStr;
use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// One line of text for people; coloured when standard error is a terminal.
    #[default]
    Text,
    /// One JSON object per line, for machines.
    Json,
}

impl FromStr for Format {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            other => Err(Error::LogFormat(other.to_owned())),
        }
    }
}

/// Sends `tracing` output that passes `filter` (as in "info,consensus=debug") to standard error.
///
/// # Errors
/// [`Error::LogFilter`] for a filter that does not parse; [`Error::TelemetryTwice`] when this
/// process has a subscriber already.
pub fn init(format: Format, filter: &str) -> Result<(), Error> {
    let parsed = EnvFilter::try_new(filter)
        .map_err(|reason| Error::LogFilter { filter: filter.to_owned(), reason: reason.to_string() })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(parsed)
        .with_writer(std::io::stderr)
        .with_ansi(format == Format::Text && std::io::stderr().is_terminal());
    let installed = match format {
        Format::Text => builder.try_init(),
        Format::Json => builder.json().flatten_event(true).try_init(),
    };
    installed.map_err(|_| Error::TelemetryTwice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_checked_and_set_once() {
        assert!(matches!(init(Format::Text, "a=b=c"), Err(Error::LogFilter { .. })));
        assert!(matches!("xml".parse::<Format>(), Err(Error::LogFormat(_))));
        init("json".parse().unwrap(), "warn").unwrap();
        assert!(matches!(init(Format::Text, "warn"), Err(Error::TelemetryTwice)));
    }
}
