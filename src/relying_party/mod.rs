//! Facts about relying parties: how one is set up for firman's tokens, what it checks, and why it rejects.
//! Facts and judgement only: no server, no database, no command line, no outbound call. One folder per relying
//! party.

pub mod cel;
pub mod claude;
