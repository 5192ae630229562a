//! Upstreams of every dialect, whichever providers are built in: an ingress asks of them only who they are.

use providers::openai::OpenAi;
use providers::{
    About, Call, Caps, Dialect, File, Job, Key, Legacy, Line, LineError, NewJob, Page, Provider, ResultLine,
    Source, StreamUsage, Unreadable, Upload, Upstream, Upstreams,
};

/// A provider of a dialect.
#[derive(Debug)]
struct Speaks(&'static About);

const fn about(name: &'static str, dialect: Dialect, endpoints: &'static [&'static str]) -> About {
    let (stream_usage, key) = (StreamUsage::OnRequest, Key::bearer(&[]));
    About { name, title: name, dialect, base_url: "", key, endpoints, stream_usage, caps: Caps::OPENAI }
}

const MODELS: [&str; 2] = ["/v1beta/models/*:generateContent", "/v1beta/models/*:embedContent"];
static OPENAI: Speaks = Speaks(&about("openai", Dialect::OpenAi, &providers::openai::ENDPOINTS));
static ANTHROPIC: Speaks = Speaks(&about("anthropic", Dialect::Anthropic, &["/v1/messages"]));
static GEMINI: Speaks = Speaks(&about("gemini", Dialect::Gemini, &MODELS));
static GROQ: Speaks = Speaks(&about("groq", Dialect::OpenAi, &["/v1/chat/completions"]));

/// Has older paths, `/old/of/MODEL/...` and `/old/...`, where others go on below `/new`, and a query that changes nothing.
static DEPOT: Speaks = Speaks(&about("depot", Dialect::OpenAi, &["/v1/chat/completions", "/v1/responses"]));

/// Upstreams at one address, each at the path that its provider has, below which OpenAI's is.
pub(in crate::http) fn upstreams(address: &str, openai: &str) -> Upstreams {
    let at = |provider: &'static Speaks, path: &str| {
        Upstream::of(provider, provider.0.name, &format!("{address}{path}"))
    };
    let models = [("m", "m-batch"), ("n", "n-batch")];
    let models = models.map(|(called, batched)| (called.to_owned(), batched.to_owned()));
    let depot = Upstream { models: models.into(), ..at(&DEPOT, "/x/new") };
    let all = [at(&OPENAI, openai), at(&ANTHROPIC, ""), at(&GEMINI, ""), at(&GROQ, "/openai/v1"), depot];
    all.into_iter().collect()
}

/// What nobody asks here is as OpenAI has it.
impl Provider for Speaks {
    fn about(&self) -> &'static About {
        self.0
    }

    fn encode_line(&self, out: &mut Vec<u8>, line: &Line<'_>) {
        OpenAi.encode_line(out, line);
    }

    fn line_len(&self, line: &Line<'_>, body: usize) -> usize {
        OpenAi.line_len(line, body)
    }

    fn upload(&self, name: &str) -> Upload {
        OpenAi.upload(name)
    }

    fn create(&self, new: &NewJob<'_>, file: &str) -> Call {
        OpenAi.create(new, file)
    }

    fn poll(&self, job: &str) -> Call {
        OpenAi.poll(job)
    }

    fn read_job(&self, body: &[u8]) -> Result<Job, Unreadable> {
        OpenAi.read_job(body)
    }

    fn cancel(&self, job: &str) -> Call {
        OpenAi.cancel(job)
    }

    fn list_jobs(&self, after: Option<&str>) -> Call {
        OpenAi.list_jobs(after)
    }

    fn read_jobs(&self, body: &[u8], after: Option<&str>) -> Result<Page<Job>, Unreadable> {
        OpenAi.read_jobs(body, after)
    }

    fn list_files(&self, after: Option<&str>) -> Option<Call> {
        OpenAi.list_files(after)
    }

    fn read_files(&self, body: &[u8], after: Option<&str>) -> Result<Page<File>, Unreadable> {
        OpenAi.read_files(body, after)
    }

    fn read_file(&self, body: &[u8]) -> Result<File, Unreadable> {
        OpenAi.read_file(body)
    }

    fn delete(&self, artifact: &str) -> Option<Call> {
        OpenAi.delete(artifact)
    }

    fn results(&self, artifact: &str) -> Source {
        OpenAi.results(artifact)
    }

    fn read_result<'a>(&self, line: &'a [u8]) -> Result<ResultLine<'a>, LineError> {
        OpenAi.read_result(line)
    }

    fn is_missing_file(&self, status: u16, body: &[u8]) -> bool {
        OpenAi.is_missing_file(status, body)
    }

    fn legacy<'a>(&self, path: &'a str) -> Option<Legacy<'a>> {
        let below = path.strip_prefix("/old").filter(|_| self.0.name == "depot")?;
        let named = below.strip_prefix("/of/").and_then(|rest| rest.split_at_checked(rest.find('/')?));
        let (model, below) = named.map_or((None, below), |(model, below)| (Some(model), below));
        Some(Legacy { replaces: "/new", below, model })
    }

    fn neutral_query(&self) -> &'static [&'static str] {
        if self.0.name == "depot" { &["as-of", "at"] } else { &[] }
    }
}
