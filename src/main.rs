//! The program: an allocator, a runtime, and everything else in [`firman::cli`].

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    firman::cli::run(std::env::args_os(), &firman::config::environment()).await
}
