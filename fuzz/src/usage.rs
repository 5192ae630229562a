//! What answers say about their cost.

use std::sync::LazyLock;

use pricing::{Answer, Call, Dialect, StreamUsage, Table, Tier, Usd};

const DIALECTS: [Dialect; 3] = [Dialect::OpenAi, Dialect::Anthropic, Dialect::Gemini];
const MODELS: [(&str, &str); 4] = [
    ("openai", "gpt-6-sol"),
    ("anthropic", "claude-opus-5-5"),
    ("gemini", "gemini-2.5-pro"),
    ("xai", "grok-imagine-image"),
];

static TABLE: LazyLock<Table> = LazyLock::new(Table::embedded);

/// A body, read whole and as a stream of events in pieces whose size the first byte says.
pub(crate) fn usage(data: &[u8]) {
    let Some((size, body)) = data.split_first() else { return };
    for dialect in DIALECTS {
        let whole = streamed(dialect, body, body.len());
        assert_eq!(streamed(dialect, body, (*size).into()), whole, "pieces matter");
        for answer in [Answer::read(dialect, body), whole].into_iter().flatten() {
            check(&answer);
        }
    }
}

fn streamed(dialect: Dialect, body: &[u8], size: usize) -> Option<Answer> {
    let mut stream = StreamUsage::new(dialect);
    body.chunks(size.max(1)).for_each(|piece| stream.feed(piece));
    stream.finish()
}

/// Parts are no more than their sum, and costs are what is paid of a list that is not negative.
fn check(answer: &Answer) {
    let usage = &answer.usage;
    assert!(usage.cached_input() <= usage.input() && usage.reasoning() <= usage.output());
    for (provider, model) in MODELS {
        for tier in [Tier::Sync, Tier::Batch, Tier::Flex] {
            let call = Call { upstream: provider, provider, model, tier, batch_percent: Some(50) };
            if let Some(cost) = TABLE.cost(&call, 200, Some(answer)) {
                assert!(cost.list >= Usd::ZERO && cost.paid >= Usd::ZERO);
                assert!(tier != Tier::Sync || cost.list == cost.paid);
            }
        }
    }
}
