//! Groq (its SDK's types and batch documentation): OpenAI's form, for chat completions alone.

use crate::about::{About, Dialect, Key, StreamUsage};
use crate::caps::Caps;
use crate::compatible::Compatible;

/// Groq. Windows up to seven days are possible; ours is a day, as everywhere.
pub static GROQ: Compatible = Compatible::new(&About {
    name: "groq",
    title: "Groq",
    dialect: Dialect::OpenAi,
    base_url: "https://api.groq.com/openai/v1",
    key: Key::bearer(&["GROQ_API_KEY"]),
    endpoints: &["/v1/chat/completions"],
    // Its SDK's types: `x_groq.usage` in the final chunk.
    stream_usage: StreamUsage::Within("x_groq"),
    // 100 MB a file, with 5 % of headroom; 50,000 lines are from memory.
    caps: Caps { max_bytes: 95_000_000, batch_percent: Some(50), ..Caps::OPENAI },
});

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Phase;
    use crate::provider::Provider;
    use crate::provider::tests::{NEW, json_body};

    #[test]
    fn groq_is_spoken_to_like_openai() {
        assert!(json_body(&GROQ.create(&NEW, "file_1"))["output_expires_after"].is_null());
        let body =
            br#"{"object":"list","data":[{"id":"batch_1","status":"cancelling","input_file_id":"file_1",
            "metadata":{"llmp_bid":"bid"},"created_at":1736472600}]}"#;
        let page = GROQ.read_jobs(body, None).unwrap();
        let job = &page.items[0];
        assert_eq!((job.phase, job.batch.as_deref(), page.next), (Phase::Running, Some("bid"), None));
        assert!(GROQ.delete("file_1").is_some());
    }
}
