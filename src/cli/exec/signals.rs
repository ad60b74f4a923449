//! The signals that `firman exec` passes on to its command.

use std::fs::File;

use rustix::process::Signal as Number;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::error::CliError;

/// The signals that belong to the command, caught as long as this exists.
pub(super) struct Signals([(Number, Signal); 6]);

impl Signals {
    pub(super) fn catch() -> Result<Self, CliError> {
        let catch = |kind, number| {
            let caught =
                signal(kind).map_err(|error| CliError::failed("signal", error.to_string()));
            caught.map(|caught| (number, caught))
        };
        Ok(Self([
            catch(SignalKind::terminate(), Number::TERM)?,
            catch(SignalKind::interrupt(), Number::INT)?,
            catch(SignalKind::hangup(), Number::HUP)?,
            catch(SignalKind::quit(), Number::QUIT)?,
            catch(SignalKind::user_defined1(), Number::USR1)?,
            catch(SignalKind::user_defined2(), Number::USR2)?,
        ]))
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) -> Number {
        std::future::poll_fn(|context| {
            for (number, caught) in &mut self.0 {
                if caught.poll_recv(context).is_ready() {
                    return std::task::Poll::Ready(*number);
                }
            }
            std::task::Poll::Pending
        })
        .await
    }
}

/// A signal typed at a terminal (Ctrl-C) reaches every foreground process. The command has it already, and many
/// programs treat a second one differently.
pub(super) fn came_from_the_terminal(number: Number) -> bool {
    let is_typed = number == Number::INT || number == Number::QUIT;
    is_typed
        && File::open("/dev/tty")
            .ok()
            .and_then(|terminal| rustix::termios::tcgetpgrp(terminal).ok())
            .is_some_and(|foreground| foreground == rustix::process::getpgrp())
}
