//! What we know of those who trust us: how a relying party is set up for our tokens, what it checks, and
//! why it says no. Facts and judgement only: no server, no database, no command line, no outbound call.
//! One folder per relying party.

pub mod cel;
pub mod claude;
