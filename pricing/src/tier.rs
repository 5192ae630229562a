//! The price lists that a provider has for one model.

/// How a call was served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// At once, at the full price.
    Sync,
    /// In a batch.
    Batch,
    /// At once, but with the least priority.
    Flex,
}

impl Tier {
    /// The tier that served a call, from the one that was asked for and what the answer says; `None` for one whose prices are not
    /// known, such as priority.
    ///
    /// What went through a batch was served as a batch, whatever its answer says: some say `default` there.
    pub fn served(self, said: Option<&str>) -> Option<Self> {
        let is = |names: &[&str]| {
            said.is_some_and(|said| names.iter().any(|name| name.eq_ignore_ascii_case(said)))
        };
        match (self, said) {
            (Self::Batch, _) => Some(Self::Batch),
            (_, None) => Some(self),
            _ if is(&["flex"]) => Some(Self::Flex),
            _ if is(&["default", "standard", "on_demand"]) => Some(Self::Sync),
            _ => None,
        }
    }

    /// Its name in the price list and in configurations.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::Batch => "batch",
            Self::Flex => "flex",
        }
    }

    /// The tier with this name.
    pub(crate) fn by_name(name: &str) -> Option<Self> {
        [Self::Sync, Self::Batch, Self::Flex].into_iter().find(|tier| tier.name() == name)
    }
}
