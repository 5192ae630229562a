//! Panics are mistakes, and are logged; what they say may hold what they happened to.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::PanicHookInfo;

/// Stands for a message that was put together from values: a string that was cut in the wrong place is quoted whole.
const WITHHELD: &str = "(its message is withheld, since it may quote data)";

/// From now on panics are logged with their place, and with their message only if that is a constant of the program.
pub fn log_without_state() {
    std::panic::set_hook(Box::new(report));
}

fn report(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let backtrace = Backtrace::capture();
    // Names of functions, where RUST_BACKTRACE asks for them.
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
    tracing::error!(place, backtrace, "a mistake in llm-proxy: {}", message(panic.payload()));
}

fn message(payload: &dyn Any) -> &'static str {
    payload.downcast_ref::<&'static str>().unwrap_or(&WITHHELD)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program cannot know it beforehand.
    fn text() -> String {
        std::hint::black_box("Wie geht\u{2019}s?".to_owned())
    }

    #[test]
    fn only_constant_messages_are_told() {
        let told = |panics: fn() -> String| message(&*std::panic::catch_unwind(panics).unwrap_err());
        assert_eq!(told(|| panic!("a constant")), "a constant");
        assert!(told(|| Some(text()).filter(String::is_empty).unwrap()).contains("`None` value"));
        assert_eq!(told(|| text()[..9].to_owned()), WITHHELD);
        assert_eq!(told(|| panic!("{}", text())), WITHHELD);
    }
}
