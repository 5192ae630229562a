//! The llm-proxy executable: reads the command line and hands over to a command.

mod cli;
mod commands;
mod exit;
mod receipt;
mod screen;
mod startup;
mod supervise;

use std::process::ExitCode;

#[cfg(all(feature = "jemalloc", not(target_env = "msvc")))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    match cli::parse(std::env::args_os()) {
        Ok(command) => exit::code(commands::run(command)),
        // Prints help and version too, and ends with 2 only for mistakes.
        Err(error) => error.exit(),
    }
}
