//! Is each upstream reachable, and may the key that its users keep in a variable use its Batch API?

use common::redact::redact;
use futures_util::future::join_all;
use providers::{About, Upstream, Upstreams};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use submitter::api::{ApiError, Client, Credential, Http};

use super::Report;

/// What came of asking an upstream for its list of batches.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// The key in this variable may list batches.
    Allowed(&'static str),
    /// There is no key to ask with, and this is how it answers without one; a failure where it could not be reached although
    /// its address was given.
    Keyless { answers: Result<String, String>, named: bool },
    /// The key in a variable is not taken, may not do that, or cannot be used.
    Denied(String),
    /// No HTTP came back, or nothing that is a list.
    Failed(String),
}

/// Asks every upstream, all at a time. Creates nothing, and costs nothing.
pub(crate) async fn check(upstreams: &Upstreams, report: &mut Report) {
    let http = match Http::new() {
        Ok(http) => http,
        Err(error) => return report.failed("upstreams", error),
    };
    let variable = |name: &str| std::env::var(name).ok();
    let asked = upstreams.iter().map(|upstream| ask(&http, upstream, variable));
    let verdicts = join_all(asked).await;
    for (upstream, verdict) in upstreams.iter().zip(&verdicts) {
        tell(upstream, verdict, report);
    }
    let silent = |verdict: &Verdict| matches!(verdict, Verdict::Keyless { answers: Err(_), named: false });
    if verdicts.iter().all(silent) {
        report.failed("upstreams", "none can be reached: is there a way out of this network?");
    }
}

async fn ask(http: &Http, upstream: &Upstream, variable: impl Fn(&str) -> Option<String>) -> Verdict {
    let about = upstream.provider.about();
    let client = match Client::new(http, upstream) {
        Ok(client) => client,
        Err(error) => return Verdict::Failed(error.to_string()),
    };
    let Some((name, key)) = key(about, variable) else {
        let answers = match client.first_jobs(&Credential::default()).await {
            Ok(_) => Ok("answers without a key".to_owned()),
            Err(error) => match error.status() {
                Some(status) => Ok(format!("answers, with {status} to who has none")),
                None => Err(error.message().to_owned()),
            },
        };
        return Verdict::Keyless { answers, named: upstream.base_url != about.base_url };
    };
    let Some(credential) = credential(about, &key) else {
        return Verdict::Denied(format!("{name} holds characters that no key has"));
    };
    match client.first_jobs(&credential).await {
        Ok(_) => Verdict::Allowed(name),
        Err(error) => refusal(name, &key, &error),
    }
}

/// The first variable of the provider that is set, and the key in it.
fn key(about: &About, variable: impl Fn(&str) -> Option<String>) -> Option<(&'static str, String)> {
    about.key.variables.iter().find_map(|name| {
        let key = variable(name)?.trim().to_owned();
        (!key.is_empty()).then_some((*name, key))
    })
}

/// The headers of a call with this key.
fn credential(about: &About, key: &str) -> Option<Credential> {
    let header = HeaderName::from_static(about.key.header);
    let value = HeaderValue::try_from(format!("{}{key}", about.key.scheme)).ok()?;
    let said = about.key.along.iter();
    let said = said.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
    Some(Credential::new(HeaderMap::from_iter([(header, value)])).with(said.collect()))
}

/// What a call with a key came to, in the provider's words without the key.
fn refusal(name: &str, key: &str, error: &ApiError) -> Verdict {
    let Some(answer) = error.answer() else {
        return Verdict::Failed(format!("unreachable: {}", error.message()));
    };
    let (status, said) = (answer.status, redact(&answer.message(), std::iter::once(key)));
    match status {
        429 => Verdict::Failed(format!("busy ({status}: {said}); ask again later")),
        400..500 => Verdict::Denied(format!("the key in {name} may not list batches ({status}: {said})")),
        200..300 => Verdict::Failed(format!("its list of batches is none: {}", error.message())),
        _ => Verdict::Failed(format!("it answers {status} to a list of batches: {said}")),
    }
}

fn tell(upstream: &Upstream, verdict: &Verdict, report: &mut Report) {
    let (what, url) = (format!("upstream {}", upstream.name), &upstream.base_url);
    let hint = match upstream.provider.about().key.variables {
        [] => String::new(),
        names => format!("; set {} to have it checked", names.join(" or ")),
    };
    match verdict {
        Verdict::Allowed(name) => report.ok(&what, format_args!("{url}: the key in {name} may list batches")),
        Verdict::Keyless { answers: Ok(how), .. } => {
            report.skipped(&what, format_args!("no key given: {url} {how}{hint}"));
        }
        Verdict::Keyless { answers: Err(why), named: false } => {
            report.skipped(&what, format_args!("no key given, and {url} is unreachable: {why}"));
        }
        Verdict::Keyless { answers: Err(why), named: true } => {
            report.failed(&what, format_args!("{url} is unreachable: {why}"));
        }
        Verdict::Denied(why) => report.failed(&what, format_args!("denied: {url}: {why}")),
        Verdict::Failed(why) => report.failed(&what, format_args!("{url}: {why}")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::LazyLock;

    use providers::ALL;
    use simulator::{Config, Fault, Op, Rule, Simulator};

    use super::*;

    /// Where the simulator has the provider of this name, and a key that it takes.
    const SIMULATED: [(&str, &str, &str); 10] = [
        ("openai", "/v1", "sk-hush-0123456789"),
        ("anthropic", "", "sk-ant-hush-0123456789"),
        ("gemini", "", "AIzahush0123456789"),
        ("azure", "/azure/openai/v1", "hush-0123456789"),
        ("groq", "/groq/openai/v1", "gsk_hush-0123456789"),
        ("mistral", "/mistral/v1", "hush-0123456789"),
        ("xai", "/xai/v1", "xai-hush-0123456789"),
        ("together", "/together/v1", "hush-0123456789"),
        ("openrouter", "/openrouter/api/v1", "sk-or-hush-0123456789"),
        ("openai-compatible", "/compat/v1", "ck-hush-0123456789"),
    ];

    fn upstream(name: &str, base_url: &str) -> Upstream {
        Upstream::of(providers::by_name(name).unwrap(), name, base_url)
    }

    async fn verdict(upstream: &Upstream, variables: &[(&str, &str)]) -> Verdict {
        static HTTP: LazyLock<Http> = LazyLock::new(|| Http::new().unwrap());
        let variables: HashMap<&str, &str> = variables.iter().copied().collect();
        ask(&HTTP, upstream, |name| variables.get(name).map(|key| (*key).to_owned())).await
    }

    fn failures(upstream: &Upstream, verdict: &Verdict) -> usize {
        let mut report = Report::default();
        tell(upstream, verdict, &mut report);
        report.failures()
    }

    #[tokio::test]
    async fn the_key_of_every_provider_is_tried_as_it_takes_it() {
        let simulator = Simulator::start(Config::default()).await.unwrap();
        assert_eq!(SIMULATED.len(), ALL.len());
        for (name, path, key) in SIMULATED {
            let upstream = upstream(name, &format!("http://{}{path}", simulator.addr()));
            let Some(variable) = upstream.provider.about().key.variables.last() else {
                assert_eq!(name, "openai-compatible", "any other has a variable of its own");
                continue;
            };
            let with_key = verdict(&upstream, &[(variable, &format!(" {key}\n"))]).await;
            assert_eq!(with_key, Verdict::Allowed(variable), "{name}");
            let without = verdict(&upstream, &[(variable, " ")]).await;
            assert!(
                matches!(without, Verdict::Keyless { answers: Ok(_), named: true }),
                "{name}: {without:?}"
            );
            assert_eq!(failures(&upstream, &with_key) + failures(&upstream, &without), 0, "{name}");
        }
        assert_eq!(simulator.received(Op::Create) + simulator.received(Op::Upload), 0);
        simulator.shutdown().await;
    }

    #[tokio::test]
    async fn a_refusal_is_told_in_the_providers_words_without_the_key() {
        let simulator = Simulator::start(Config::default()).await.unwrap();
        let (_, path, key) = SIMULATED[0];
        let upstream = upstream("openai", &format!("http://{}{path}", simulator.addr()));
        let answer = |code| Fault::Status {
            code,
            retry_after: None,
            error_code: None,
            message: Some(format!("Missing scopes for {key}.")),
        };
        for code in [403, 429, 500] {
            simulator.set_faults(Rule::new(answer(code)).on([Op::List]));
            let verdict = verdict(&upstream, &[("OPENAI_API_KEY", key)]).await;
            let (Verdict::Denied(why) | Verdict::Failed(why)) = &verdict else { panic!("{verdict:?}") };
            assert_eq!(matches!(verdict, Verdict::Denied(_)), code == 403, "{verdict:?}");
            assert!(why.contains(&code.to_string()) && why.contains("Missing scopes for"), "{why}");
            assert!(!why.contains("hush"), "{why}");
            assert_eq!(failures(&upstream, &verdict), 1);
        }
        simulator.clear_faults();
        let wrong = verdict(&upstream, &[("OPENAI_API_KEY", "hush")]).await;
        assert!(
            matches!(&wrong, Verdict::Denied(why) if why.contains("OPENAI_API_KEY") && why.contains("401")),
            "{wrong:?}"
        );
        let odd = verdict(&upstream, &[("OPENAI_API_KEY", "hu\u{7}sh")]).await;
        assert!(matches!(&odd, Verdict::Denied(why) if !why.contains("sh ")), "{odd:?}");
        simulator.shutdown().await;
    }

    #[tokio::test]
    async fn what_is_not_there_is_told_and_fails_where_it_was_asked_for() {
        // Nobody listens there.
        let named = upstream("groq", "http://127.0.0.1:9/v1");
        let keyless = verdict(&named, &[]).await;
        assert!(matches!(keyless, Verdict::Keyless { answers: Err(_), named: true }), "{keyless:?}");
        let with_key = verdict(&named, &[("GROQ_API_KEY", "gsk_hush")]).await;
        assert!(matches!(&with_key, Verdict::Failed(why) if why.contains("unreachable")), "{with_key:?}");
        assert_eq!((failures(&named, &keyless), failures(&named, &with_key)), (1, 1));
        let of_itself = Verdict::Keyless { answers: Err("no way".into()), named: false };
        assert_eq!(failures(&named, &of_itself), 0);
    }

    #[test]
    fn headers_and_variables_of_all_providers_are_such() {
        for about in ALL.iter().map(|provider| provider.about()) {
            assert!(credential(about, "hush").is_some(), "{}", about.name);
            let is_name = |name: &str| name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
            assert!(about.key.variables.iter().all(|name| is_name(name)), "{}", about.name);
        }
    }
}
