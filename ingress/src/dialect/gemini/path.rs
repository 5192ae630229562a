//! The path of a call: its model and what the model is to do.

/// The longest name of a model in bytes that is batched. Google's own stay below 64.
const MAX_MODEL: usize = 256;

/// A method of a model that a batch can take (Gemini API reference, "Batch API").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// `generateContent`: one answer.
    Generate,
    /// `streamGenerateContent`: the same request, its answer as a stream. A batch takes it as `generateContent`.
    StreamGenerate,
    /// `embedContent`: one content, one vector, so that a call is always one input.
    Embed,
}

impl Action {
    fn of(method: &str) -> Option<Self> {
        match method {
            "generateContent" => Some(Self::Generate),
            "streamGenerateContent" => Some(Self::StreamGenerate),
            "embedContent" => Some(Self::Embed),
            _ => None,
        }
    }
}

/// The model, without `models/`, and the action of `/v1beta/models/{model}:{method}` or the same under `/v1`.
///
/// `None` for everything else, which is relayed: other methods, tuned models (no batch is documented to take them), and
/// names that are not written in plain letters, digits, `-`, `.` and `_`. No model of Google's needs more, so that nothing is
/// percent-decoded, and a name can stand in a path again as it is.
pub fn model_of(path: &str) -> Option<(&str, Action)> {
    let rest = path.strip_prefix("/v1beta/models/").or_else(|| path.strip_prefix("/v1/models/"))?;
    let (model, method) = rest.split_once(':')?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let named = model.starts_with(|first: char| first.is_ascii_alphanumeric());
    let known = named && model.len() <= MAX_MODEL && model.bytes().all(plain);
    Some((model, Action::of(method)?)).filter(|_| known)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn both_versions_and_three_methods() {
        for version in ["v1beta", "v1"] {
            for (method, action) in [
                ("generateContent", Action::Generate),
                ("streamGenerateContent", Action::StreamGenerate),
                ("embedContent", Action::Embed),
            ] {
                let path = format!("/{version}/models/gemini-2.5-flash_1:{method}");
                assert_eq!(model_of(&path), Some(("gemini-2.5-flash_1", action)));
            }
        }
    }

    #[test]
    fn the_rest_is_relayed() {
        for path in [
            "",
            "/",
            "/v1beta/models",
            "/v1beta/models/m",
            "/v1beta/models/:generateContent",
            "/v1beta/models/m:",
            "/v1beta/models/m:countTokens",
            "/v1beta/models/m:batchGenerateContent",
            "/v1beta/models/m:batchEmbedContents",
            "/v1beta/models/m:generatecontent",
            "/v1beta/models/m:generateContent/",
            "/v1beta/models/m:generateContent:generateContent",
            "/v1beta/models/m%3AgenerateContent",
            "/v1beta/models/m%2dx:generateContent",
            "/v1beta/models/a/b:generateContent",
            "/v1beta/models/..:generateContent",
            "/v1beta/models/.:generateContent",
            "/v1beta//models/m:generateContent",
            "/v1beta/tunedModels/m:generateContent",
            "/v1alpha/models/m:generateContent",
            "/models/m:generateContent",
            "v1beta/models/m:generateContent",
        ] {
            assert_eq!(model_of(path), None, "{path}");
        }
    }

    #[test]
    fn a_name_is_bounded() {
        let of = |length| model_of(&format!("/v1/models/{}:embedContent", "m".repeat(length))).is_some();
        assert!(of(MAX_MODEL) && !of(MAX_MODEL + 1));
    }

    proptest! {
        #[test]
        fn what_is_found_makes_the_path_again(path in "/v1(beta)?/models/.{0,6}[a-z.%/:]{0,6}:(generateContent|embedContent)") {
            if let Some((model, _)) = model_of(&path) {
                let tail = path.split_once("/models/").unwrap().1.split_once(model).unwrap();
                prop_assert!(tail.0.is_empty() && tail.1.starts_with(':'));
                prop_assert!(!model.contains(['/', '%', ':', '?', '#']));
            }
        }
    }
}
