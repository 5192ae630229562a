//! The variables by which SDKs are told where a provider is, and what becomes of those that are set already.

use std::collections::BTreeMap;

use common::args::parse_base_url;
use common::service::ConfigError;
use providers::{Upstream, Upstreams};

/// What a variable's readers put behind its value, beyond the paths of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Adds {
    /// Nothing: the value ends with a version.
    Nothing,
    /// `/v1`, at least some of them.
    Version,
    /// `/openai/v1`, at least some of them.
    OpenAiVersion,
    /// A version that the provider's base URL does not have.
    OwnVersion,
}

/// A variable that says where a provider is.
#[derive(Debug)]
struct Variable {
    name: &'static str,
    /// The upstream that is meant.
    upstream: &'static str,
    /// Where that is below the proxy's address.
    path: &'static str,
    adds: Adds,
}

const fn variable(name: &'static str, upstream: &'static str, path: &'static str, adds: Adds) -> Variable {
    Variable { name, upstream, path, adds }
}

/// As read in the sources of the packages of November 2026; of one upstream, the SDK's own variable first. Who else reads which is
/// said in `docs/clients.md`. Mistral's SDK and xAI's read none.
const VARIABLES: [Variable; 18] = [
    variable("OPENAI_BASE_URL", "openai", "/v1", Adds::Nothing),
    // LangChain, LiteLLM and OpenAI's package before 1.0.
    variable("OPENAI_API_BASE", "openai", "/v1", Adds::Nothing),
    variable("ANTHROPIC_BASE_URL", "anthropic", "", Adds::OwnVersion),
    // LiteLLM.
    variable("ANTHROPIC_API_BASE", "anthropic", "", Adds::OwnVersion),
    // LangChain.
    variable("ANTHROPIC_API_URL", "anthropic", "", Adds::OwnVersion),
    variable("GOOGLE_GEMINI_BASE_URL", "gemini", "", Adds::OwnVersion),
    // LiteLLM.
    variable("GEMINI_API_BASE", "gemini", "", Adds::OwnVersion),
    variable("GROQ_BASE_URL", "groq", "/groq", Adds::OpenAiVersion),
    // LangChain, as the SDK; LiteLLM, which adds nothing.
    variable("GROQ_API_BASE", "groq", "/groq", Adds::OpenAiVersion),
    // LangChain.
    variable("MISTRAL_BASE_URL", "mistral", "/mistral/v1", Adds::Nothing),
    // LiteLLM, which adds /v1 where there is none: the second for chats, the first for all else.
    variable("MISTRAL_API_BASE", "mistral", "/mistral/v1", Adds::Version),
    variable("MISTRAL_AZURE_API_BASE", "mistral", "/mistral/v1", Adds::Version),
    // The SDK for Python adds /v1, the one for Node does not.
    variable("TOGETHER_BASE_URL", "together", "/together", Adds::Version),
    // LangChain.
    variable("TOGETHER_API_BASE", "together", "/together/v1", Adds::Nothing),
    // LiteLLM.
    variable("TOGETHER_AI_API_BASE", "together", "/together/v1", Adds::Nothing),
    // LangChain and LiteLLM.
    variable("XAI_API_BASE", "xai", "/xai/v1", Adds::Nothing),
    // The SDK for Node.
    variable("OPENROUTER_BASE_URL", "openrouter", "/openrouter/v1", Adds::Nothing),
    // LangChain and LiteLLM.
    variable("OPENROUTER_API_BASE", "openrouter", "/openrouter/v1", Adds::Nothing),
];

/// Of Azure, where every customer has an address of its own: set only where `--config` names it.
const AZURE: [&str; 2] = ["AZURE_OPENAI_ENDPOINT", "AZURE_API_BASE"];
/// Hosts that a program's calls reach without a proxy; there are two spellings, and programs read either.
const NO_PROXY: [&str; 2] = ["NO_PROXY", "no_proxy"];
/// The proxy's own address, for programs that are told it in code.
const ADDRESS: &str = "LLM_PROXY_URL";

/// All variables that may be set, but for those of [`NO_PROXY`].
#[cfg(test)]
pub(crate) fn variable_names() -> impl Iterator<Item = &'static str> {
    VARIABLES.iter().map(|variable| variable.name).chain(AZURE).chain([ADDRESS])
}

/// What the user's own variables ask for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Wishes {
    /// Built-in upstreams that are elsewhere, by name.
    pub(super) moved: BTreeMap<&'static str, String>,
    /// Variables that mean another upstream than their own, by its name.
    led: BTreeMap<&'static str, String>,
    /// What cannot be had, for people.
    pub(super) refused: Vec<String>,
}

/// Reads the user's own variables: a provider's upstream is where the first of its variables says. `known` are the upstreams
/// without them, `given` the names of those whose flags say where they are.
///
/// # Errors
/// [`ConfigError`] that names a variable that is no base URL, without its value, which may hold a key.
pub(super) fn wishes<'a>(
    known: &Upstreams,
    given: impl Iterator<Item = &'a str>,
    user: impl Fn(&str) -> Option<String>,
) -> Result<Wishes, ConfigError> {
    let given: Vec<&str> = given.collect();
    let mut wishes = Wishes::default();
    let mut first: BTreeMap<&str, (&str, String)> = BTreeMap::new();
    for variable in VARIABLES.iter().filter(|variable| !given.contains(&variable.upstream)) {
        let Some(value) = user(variable.name).filter(|value| !value.trim().is_empty()) else { continue };
        let bad =
            |why| ConfigError::new(format_args!("the variable {} cannot be used: {why}", variable.name));
        let base_url = variable.base_url(&parse_base_url(value.trim()).map_err(bad)?);
        if let Some(other) = same_place(known, variable.upstream, &base_url) {
            wishes.led.insert(variable.name, other.name.clone());
            continue;
        }
        let (name, url) = first.entry(variable.upstream).or_insert_with(|| (variable.name, base_url.clone()));
        if *url != base_url {
            wishes.refused.push(format!("{} is not followed: {name} says otherwise", variable.name));
        }
    }
    let home = |name: &str, url: &String| known.get(name).is_some_and(|upstream| upstream.base_url == *url);
    let moved = first.into_iter().filter(|(upstream, (_, url))| !home(upstream, url));
    for (upstream, (_, url)) in moved {
        // The key has to live as long as the table.
        if let Some(variable) = VARIABLES.iter().find(|variable| variable.upstream == upstream) {
            wishes.moved.insert(variable.upstream, url);
        }
    }
    Ok(wishes)
}

/// An upstream of another name at this address, whose callers speak alike: it knows better what it takes.
fn same_place<'a>(known: &'a Upstreams, name: &str, base_url: &str) -> Option<&'a Upstream> {
    let dialect = known.get(name)?.dialect();
    let alike =
        |other: &&Upstream| other.name != name && other.dialect() == dialect && other.base_url == base_url;
    known.iter().map(|upstream| &**upstream).find(alike)
}

impl Variable {
    /// The upstream's base URL, where this variable has a value.
    fn base_url(&self, value: &str) -> String {
        let versioned = value.ends_with("/v1");
        match self.adds {
            Adds::Nothing => value.to_owned(),
            Adds::Version | Adds::OpenAiVersion if versioned => value.to_owned(),
            Adds::Version => format!("{value}/v1"),
            Adds::OpenAiVersion => format!("{value}/openai/v1"),
            Adds::OwnVersion => {
                // LiteLLM takes the whole path, AI SDK wants the version.
                let value = value.strip_suffix("/messages").unwrap_or(value);
                let versions = ["/v1", "/v1beta", "/v1alpha"];
                versions.iter().find_map(|version| value.strip_suffix(version)).unwrap_or(value).to_owned()
            }
        }
    }
}

/// The variables that a program is given, for a proxy at `address` (`http://HOST:PORT`, whose host is `host`).
pub(super) fn settings(
    address: &str,
    host: &str,
    upstreams: &Upstreams,
    wishes: &Wishes,
    user: impl Fn(&str) -> Option<String>,
) -> Vec<(&'static str, String)> {
    let value = |variable: &Variable| match wishes.led.get(variable.name) {
        Some(upstream) => format!("{address}/{upstream}/v1"),
        None => format!("{address}{}", variable.path),
    };
    let plain = VARIABLES.iter().map(|variable| (variable.name, value(variable)));
    let azure = upstreams.iter().find(|upstream| upstream.provider.about().name == "azure");
    let azure = azure.map(|upstream| AZURE.map(|name| (name, format!("{address}/{}", upstream.name))));
    let [upper, lower] = NO_PROXY.map(user);
    let direct = [(&upper, &lower), (&lower, &upper)]
        .map(|(own, other)| without_proxy(own.as_ref().or(other.as_ref()), host));
    let own = [(ADDRESS, address.to_owned())];
    plain.chain(azure.into_iter().flatten()).chain(own).chain(NO_PROXY.into_iter().zip(direct)).collect()
}

/// A list of hosts with one more.
fn without_proxy(list: Option<&String>, host: &str) -> String {
    match list.map(|list| list.trim()).filter(|list| !list.is_empty()) {
        None => host.to_owned(),
        // A star stands alone, or for nothing.
        Some(list) if list == "*" || list.split(',').any(|known| known.trim() == host) => list.to_owned(),
        Some(list) => format!("{},{host}", list.trim_end_matches(',')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(variables: &'static [(&'static str, &'static str)]) -> impl Fn(&str) -> Option<String> {
        |name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    }

    fn wished(variables: &'static [(&'static str, &'static str)], given: &[&str]) -> Wishes {
        wishes(&Upstreams::default(), given.iter().copied(), user(variables)).unwrap()
    }

    fn moved(variables: &'static [(&'static str, &'static str)]) -> Vec<(&'static str, String)> {
        wished(variables, &[]).moved.into_iter().collect()
    }

    fn set(
        wishes: &Wishes,
        variables: &'static [(&'static str, &'static str)],
    ) -> BTreeMap<&'static str, String> {
        let upstreams = Upstreams::default();
        settings("http://127.0.0.1:1", "127.0.0.1", &upstreams, wishes, user(variables)).into_iter().collect()
    }

    #[test]
    fn every_upstream_with_variables_is_built_in_and_has_its_path() {
        for variable in &VARIABLES {
            let upstream = Upstreams::default().get(variable.upstream).cloned();
            assert!(upstream.is_some(), "{variable:?}");
            let named = variable.path.strip_prefix(&format!("/{}", variable.upstream));
            assert!(matches!(named, Some("" | "/v1")) || matches!(variable.path, "" | "/v1"), "{variable:?}");
        }
        let distinct: std::collections::BTreeSet<_> = variable_names().collect();
        assert_eq!(distinct.len(), variable_names().count());
    }

    #[test]
    fn a_provider_is_where_the_user_says() {
        for (variables, expected) in [
            (
                &[("OPENAI_BASE_URL", "https://eu.api.openai.com/v1/")][..],
                ("openai", "https://eu.api.openai.com/v1"),
            ),
            (&[("OPENAI_API_BASE", "http://h/v1")], ("openai", "http://h/v1")),
            (&[("ANTHROPIC_BASE_URL", "https://h/a")], ("anthropic", "https://h/a")),
            (&[("ANTHROPIC_BASE_URL", "https://h/v1")], ("anthropic", "https://h")),
            (&[("ANTHROPIC_API_BASE", "https://h/v1/messages")], ("anthropic", "https://h")),
            (&[("GEMINI_API_BASE", "https://h/v1beta")], ("gemini", "https://h")),
            (&[("GROQ_BASE_URL", "https://h")], ("groq", "https://h/openai/v1")),
            (&[("GROQ_API_BASE", "https://h/openai/v1")], ("groq", "https://h/openai/v1")),
            (&[("TOGETHER_BASE_URL", "https://api.together.ai")], ("together", "https://api.together.ai/v1")),
            (&[("XAI_API_BASE", "https://eu.x.ai/v1")], ("xai", "https://eu.x.ai/v1")),
        ] {
            assert_eq!(moved(variables), [(expected.0, expected.1.to_owned())], "{variables:?}");
        }
        assert!(
            moved(&[("OPENAI_BASE_URL", " "), ("ANTHROPIC_BASE_URL", "https://api.anthropic.com/")])
                .is_empty()
        );
    }

    #[test]
    fn a_flag_goes_before_a_variable() {
        let bad = &[("OPENAI_BASE_URL", "nonsense")];
        assert_eq!(wished(bad, &["openai"]), Wishes::default());
        let error = wishes(&Upstreams::default(), [].into_iter(), user(bad)).unwrap_err().to_string();
        assert!(error.contains("OPENAI_BASE_URL") && !error.contains("nonsense"), "{error}");
    }

    #[test]
    fn of_two_that_differ_the_first_counts_and_the_user_is_told() {
        let wishes = wished(&[("OPENAI_API_BASE", "http://b/v1"), ("OPENAI_BASE_URL", "http://a/v1")], &[]);
        assert_eq!(wishes.moved["openai"], "http://a/v1");
        assert_eq!(wishes.refused, ["OPENAI_API_BASE is not followed: OPENAI_BASE_URL says otherwise"]);
    }

    #[test]
    fn another_known_provider_is_reached_as_itself() {
        let variables = &[("OPENAI_BASE_URL", "https://api.groq.com/openai/v1")];
        let wishes = wished(variables, &[]);
        assert!(wishes.moved.is_empty() && wishes.refused.is_empty());
        let set = set(&wishes, variables);
        assert_eq!(set["OPENAI_BASE_URL"], "http://127.0.0.1:1/groq/v1");
        assert_eq!(set["OPENAI_API_BASE"], "http://127.0.0.1:1/v1");
    }

    #[test]
    fn all_are_set_but_those_of_azure() {
        let set = set(&Wishes::default(), &[]);
        assert_eq!(set["ANTHROPIC_BASE_URL"], "http://127.0.0.1:1");
        assert_eq!(set["LLM_PROXY_URL"], "http://127.0.0.1:1");
        assert_eq!((&*set["NO_PROXY"], &*set["no_proxy"]), ("127.0.0.1", "127.0.0.1"));
        let missing: Vec<_> = variable_names().filter(|name| !set.contains_key(name)).collect();
        assert_eq!(missing, AZURE);
    }

    #[test]
    fn azure_is_set_where_it_is_configured() {
        let azure = providers::ALL.iter().find(|provider| provider.about().name == "azure").unwrap();
        let upstreams =
            [Upstream::of(*azure, "west", "https://r.openai.azure.com/openai/v1")].into_iter().collect();
        let set = settings("http://127.0.0.1:1", "127.0.0.1", &upstreams, &Wishes::default(), user(&[]));
        assert!(AZURE.iter().all(|name| set.contains(&(name, "http://127.0.0.1:1/west".into()))), "{set:?}");
    }

    #[test]
    fn proxies_for_the_way_out_do_not_catch_the_calls() {
        let direct = |list: &str| without_proxy(Some(&list.to_owned()), "127.0.0.1");
        assert_eq!(direct("a, b"), "a, b,127.0.0.1");
        assert_eq!(direct(" "), "127.0.0.1");
        assert_eq!(direct("*"), "*");
        assert_eq!(direct("a,127.0.0.1"), "a,127.0.0.1");
        let set = set(&Wishes::default(), &[("no_proxy", "internal")]);
        assert_eq!((&*set["NO_PROXY"], &*set["no_proxy"]), ("internal,127.0.0.1", "internal,127.0.0.1"));
    }
}
