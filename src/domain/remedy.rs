//! The remedy for an error, separate from its sentence: the command line prints it as `hint: …`, the admin API
//! returns it as the member `hint`, the token endpoint never sends it.

use std::fmt;

use serde::{Serialize, Serializer};

/// One command or one action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remedy {
    /// A command of this program, without its name: `role list`.
    Command(String),
    /// An action in one imperative sentence: lowercase, no full stop.
    Action(String),
}

impl Remedy {
    /// A command line of `firman`, without the program's name.
    pub fn command(line: impl Into<String>) -> Self {
        Self::Command(line.into())
    }

    /// Any other action of a person or a program.
    pub fn action(sentence: impl Into<String>) -> Self {
        Self::Action(sentence.into())
    }
}

impl Serialize for Remedy {
    /// The printed form.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command(line) => write!(f, "firman {line}"),
            Self::Action(sentence) => f.write_str(sentence),
        }
    }
}
