//! The answer to a message, derived from it, so that a caller can tell that it is its own.
//!
//! It is made once, as blocks; the whole message and the events of a stream are two ways to write the same thing.

use super::error::ApiError;
use super::request::Request;
use crate::credential::{hex, sha256};
use crate::text::{AWKWARD, answer_to, quote, tokens};

/// What of an answer does not come from its request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    /// Makes the answer's ids unique.
    pub id: u64,
    /// Odd characters, spacing and numbers.
    pub awkward: bool,
    /// `usage.service_tier`
    pub tier: &'static str,
}

/// One block of an answer's content.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Block {
    /// Thoughts, with a signature.
    Thinking { thinking: String, signature: String },
    /// Thoughts that nobody can read.
    Redacted { data: String },
    /// Text; its citations are JSON.
    Text { text: String, citations: Vec<String> },
    /// A call of a tool; its input is JSON.
    ToolUse { id: String, name: String, input: String },
}

/// An answer before it is written.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The content.
    pub blocks: Vec<Block>,
    /// `end_turn`, `tool_use`, `refusal` or `max_tokens`.
    pub stop_reason: &'static str,
    /// Prompt tokens.
    pub input_tokens: u64,
    /// Completion tokens, those of thoughts included.
    pub output_tokens: u64,
    thinking_tokens: u64,
    id: u64,
    model: String,
    tier: &'static str,
    /// Members at the end of the message that only this simulator has.
    extra: String,
}

impl Answer {
    /// Makes the answer.
    pub(crate) fn of(request: &Request<'_>, style: &Style) -> Self {
        let magic = &request.magic;
        let mut blocks = Vec::new();
        let (mut output_tokens, mut thinking_tokens) = (0, 0);
        if request.max_tokens > 0 {
            let text = answer_to(&request.text, magic, style.awkward);
            if magic.think {
                blocks.extend(thoughts(&text));
                thinking_tokens = tokens(&text);
            }
            output_tokens = tokens(&text) + thinking_tokens;
            let call = |(index, name): (usize, &String)| Block::ToolUse {
                id: format!("toolu_{:016x}{index}", style.id),
                name: name.clone(),
                input: format!(r#"{{"text":{},"index":{index}}}"#, quote(&text)),
            };
            let calls: Vec<Block> = magic.calls.iter().enumerate().map(call).collect();
            blocks.push(Block::Text { text, citations: Vec::new() });
            if magic.cite {
                blocks.push(cited());
            }
            blocks.extend(calls);
        }
        let stop_reason = match magic {
            _ if request.max_tokens == 0 => "max_tokens",
            magic if magic.refuse => "refusal",
            magic if !magic.calls.is_empty() => "tool_use",
            _ => "end_turn",
        };
        let mut extra = if style.awkward { AWKWARD.to_owned() } else { String::new() };
        if let Some(marker) = &magic.echo {
            extra.push_str(&format!(r#","x_simulator_echo":{}"#, quote(marker)));
        }
        let input_tokens = request.input_tokens;
        let (id, model, tier) = (style.id, request.model.to_string(), style.tier);
        Self { blocks, stop_reason, input_tokens, output_tokens, thinking_tokens, id, model, tier, extra }
    }

    /// The whole message.
    pub(crate) fn message(&self) -> String {
        let content = self.blocks.iter().map(Block::whole).collect::<Vec<_>>().join(",");
        self.frame(&content, &self.stop(), self.output_tokens, &self.details())
    }

    /// The message as it is when a stream begins.
    pub(crate) fn beginning(&self) -> String {
        self.frame("", r#""stop_reason":null,"stop_sequence":null,"stop_details":null"#, 1, "")
    }

    /// Why it stopped: the members of `message_delta`'s `delta`.
    pub(crate) fn stop(&self) -> String {
        let details = match self.stop_reason {
            "refusal" => {
                r#"{"type":"refusal","category":"general_harms","explanation":"The text asked for it."}"#
            }
            _ => "null",
        };
        format!(r#""stop_reason":"{}","stop_sequence":null,"stop_details":{details}"#, self.stop_reason)
    }

    /// The usage at the end of a stream.
    pub(crate) fn final_usage(&self) -> String {
        format!(
            r#"{{"input_tokens":{},"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":{}{}}}"#,
            self.input_tokens,
            self.output_tokens,
            self.details()
        )
    }

    fn details(&self) -> String {
        match self.thinking_tokens {
            0 => String::new(),
            count => format!(r#","output_tokens_details":{{"thinking_tokens":{count}}}"#),
        }
    }

    fn frame(&self, content: &str, stop: &str, output_tokens: u64, details: &str) -> String {
        format!(
            r#"{{"model":{},"id":"msg_{:016x}","type":"message","role":"assistant","content":[{content}],{stop},"usage":{{"input_tokens":{},"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"cache_creation":{{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0}},"output_tokens":{output_tokens},"service_tier":"{}"{details}}}{}}}"#,
            quote(&self.model),
            self.id,
            self.input_tokens,
            self.tier,
            self.extra
        )
    }
}

fn thoughts(text: &str) -> [Block; 2] {
    let hash = hex(&sha256(text.as_bytes()));
    let thinking = format!("Let me think about it. The answer has {} bytes.", text.len());
    [
        Block::Thinking { thinking, signature: format!("sig{hash}==") },
        Block::Redacted { data: format!("red{hash}==") },
    ]
}

fn cited() -> Block {
    let citations = [
        r#"{"type":"char_location","cited_text":"It is \"so\".","document_index":0,"document_title":"One","start_char_index":0,"end_char_index":11,"file_id":null}"#,
        r#"{"type":"page_location","cited_text":"Page two.","document_index":1,"document_title":null,"start_page_number":2,"end_page_number":3,"file_id":null}"#,
    ];
    Block::Text { text: "It is so.".to_owned(), citations: citations.map(str::to_owned).into() }
}

impl Block {
    /// The block in a whole message.
    pub(crate) fn whole(&self) -> String {
        match self {
            Block::Thinking { thinking, signature } => thinking_block(thinking, signature),
            Block::Redacted { data } => format!(r#"{{"type":"redacted_thinking","data":{}}}"#, quote(data)),
            Block::Text { text, citations } if citations.is_empty() => {
                format!(r#"{{"type":"text","text":{}}}"#, quote(text))
            }
            Block::Text { text, citations } => cited_block(text, &citations.join(",")),
            Block::ToolUse { id, name, input } => tool_block(id, name, input),
        }
    }

    /// The block in the event that begins it.
    pub(crate) fn beginning(&self) -> String {
        match self {
            Block::Thinking { .. } => thinking_block("", ""),
            // It comes as a whole.
            Block::Redacted { .. } => self.whole(),
            Block::Text { citations, .. } if citations.is_empty() => {
                r#"{"type":"text","text":""}"#.to_owned()
            }
            Block::Text { .. } => cited_block("", ""),
            Block::ToolUse { id, name, .. } => tool_block(id, name, "{}"),
        }
    }
}

fn thinking_block(thinking: &str, signature: &str) -> String {
    format!(r#"{{"type":"thinking","thinking":{},"signature":{}}}"#, quote(thinking), quote(signature))
}

fn cited_block(text: &str, citations: &str) -> String {
    format!(r#"{{"type":"text","text":{},"citations":[{citations}]}}"#, quote(text))
}

fn tool_block(id: &str, name: &str, input: &str) -> String {
    format!(
        r#"{{"type":"tool_use","id":"{id}","name":{},"input":{input},"caller":{{"type":"direct"}}}}"#,
        quote(name)
    )
}

/// The error that `fail:NNN` asks for.
pub(crate) fn failure(request: &Request<'_>) -> Option<ApiError> {
    let error = ApiError::new(request.magic.fail?, "The text asked for this failure.");
    let retry_after = (error.status == 429).then_some(1);
    Some(ApiError { retry_after, ..error })
}
