//! Claude as a relying party: its rules as `relying_party::claude` knows them, and the simulation of it.

mod algorithms;
mod rules;
mod simulator;
