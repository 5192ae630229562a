//! Flags of a service without the group that clap makes of them.

use clap::{ArgMatches, Args, Command, FromArgMatches};

/// The services' flags are all called `Args`, and so are the groups that clap derives from them; a command may have a
/// name for one group only. Nothing here uses the groups.
#[derive(Debug, Clone)]
pub(crate) struct Ungrouped<T>(pub(crate) T);

impl<T: Args> Args for Ungrouped<T> {
    fn augment_args(command: Command) -> Command {
        command.args(T::augment_args(Command::new("")).get_arguments().cloned())
    }

    fn augment_args_for_update(command: Command) -> Command {
        command.args(T::augment_args_for_update(Command::new("")).get_arguments().cloned())
    }
}

impl<T: FromArgMatches> FromArgMatches for Ungrouped<T> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        T::from_arg_matches(matches).map(Self)
    }

    fn from_arg_matches_mut(matches: &mut ArgMatches) -> Result<Self, clap::Error> {
        T::from_arg_matches_mut(matches).map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0.update_from_arg_matches(matches)
    }
}
