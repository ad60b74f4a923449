//! Logs: one line per event on stderr, so that stdout is free for data.
//!
//! The operator chooses the program's level; libraries never log below `warn`, because their `debug` lines may
//! contain headers, statements and connection strings.

use std::io::{self, IsTerminal};
use std::panic::PanicHookInfo;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::util::TryInitError;

use crate::config::{LogFormat, LogLevel};

/// Starts logging, also of panics, which become events. Once per process.
///
/// # Errors
///
/// When logging was started before.
pub fn init(format: LogFormat, level: LogLevel) -> Result<(), TryInitError> {
    let is_terminal = io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter(level))
        .with_writer(io::stderr);
    let is_text = match format {
        LogFormat::Auto => is_terminal,
        LogFormat::Json => false,
        LogFormat::Text => true,
    };
    if is_text {
        builder.with_ansi(is_terminal).finish().try_init()?;
    } else {
        builder
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .finish()
            .try_init()?;
    }
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

fn filter(level: LogLevel) -> EnvFilter {
    let libraries = match level {
        LogLevel::Error => "error",
        LogLevel::Warn | LogLevel::Info | LogLevel::Debug | LogLevel::Trace => "warn",
    };
    EnvFilter::new(format!("{libraries},firman={level}"))
}

/// Logs where a panic happened and the literal part of its message. A formatted message may quote a secret, so
/// only constants of the program are logged.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let reason = panic
        .payload()
        .downcast_ref::<&'static str>()
        .copied()
        .unwrap_or("(formatted message withheld)");
    let location = panic
        .location()
        .map(ToString::to_string)
        .unwrap_or_default();
    tracing::error!(reason, location, "panic");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_stay_at_warn_however_much_we_tell() {
        let filters: Vec<String> = [LogLevel::Error, LogLevel::Info, LogLevel::Trace]
            .into_iter()
            .map(|level| filter(level).to_string())
            .collect();
        assert_eq!(
            filters,
            [
                "firman=error,error",
                "firman=info,warn",
                "firman=trace,warn"
            ]
        );
    }
}
