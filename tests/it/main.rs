//! The integration tests: one binary, whose tree mirrors the program's rooms and URLs.

mod admin;
mod claude;
mod claude_connect;
mod claude_verify;
mod cli;
mod delegations;
mod dpop;
mod embedding;
mod federated;
mod house_rules;
mod http;
mod jose;
mod ledger;
mod oauth2;
mod process;
mod readme;
mod refusals;
mod relying_party;
mod revocation;
mod rotation;
mod storage;
mod test_cases;
mod token_exchange;
mod trusted_issuers;
mod well_known;
mod words;
