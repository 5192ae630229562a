//! Strict reading of Google's JSON: unknown names and wrong types are errors, `camelCase` and `snake_case` are the same.

use serde_json::value::RawValue;

use super::error::ApiError;
use crate::json::{self, Fields};

/// The type of a field.
#[derive(Debug)]
pub(crate) enum Kind {
    /// A string, or the name of an enum's value.
    Text,
    /// A number, or one in a string.
    Number,
    /// An integer, or one in a string.
    Integer,
    /// `true` or `false`.
    Bool,
    /// An object whose members are not looked at.
    Object,
    /// A list; an element alone stands for a list of one.
    Many(&'static Kind),
    /// An object with just these members.
    Message(&'static Message),
}

/// The members of an object, in `camelCase`.
#[derive(Debug)]
pub(crate) struct Message(pub &'static [(&'static str, Kind)]);

impl Message {
    /// Checks a whole object with everything in it.
    pub(crate) fn check(&self, fields: &Fields<'_>, path: &str) -> Result<(), ApiError> {
        for (name, value) in fields.iter() {
            let (camel, snake) = (camel(name), snake(name));
            let Some((_, kind)) = self.0.iter().find(|(known, _)| *known == camel) else {
                let place = if path.is_empty() { String::new() } else { format!(" at '{path}'") };
                let message = format!(
                    "Invalid JSON payload received. Unknown name \"{name}\"{place}: Cannot find field."
                );
                return Err(ApiError::at(path, message));
            };
            let path = if path.is_empty() { snake } else { format!("{path}.{snake}") };
            kind.check(value, &path)?;
        }
        Ok(())
    }
}

impl Kind {
    fn check(&self, raw: &RawValue, path: &str) -> Result<(), ApiError> {
        let (text, first) = (raw.get(), raw.get().as_bytes().first());
        // Null is the same as absent, everywhere.
        if text == "null" {
            return Ok(());
        }
        let right = match self {
            Kind::Text => first == Some(&b'"'),
            Kind::Number => json::number(raw).is_some() || quoted::<f64>(raw),
            Kind::Integer => json::integer(raw).is_some() || quoted::<i64>(raw),
            Kind::Bool => matches!(text, "true" | "false"),
            Kind::Object => first == Some(&b'{'),
            Kind::Many(kind) => match json::list(raw) {
                Some(items) => {
                    let each = |(index, item)| kind.check(item, &format!("{path}[{index}]"));
                    return items.into_iter().enumerate().try_for_each(each);
                }
                None => return kind.check(raw, path),
            },
            Kind::Message(message) => match json::object(raw) {
                Some(fields) => return message.check(&fields, path),
                None => false,
            },
        };
        if right { Ok(()) } else { Err(self.wrong(raw, path)) }
    }

    fn wrong(&self, raw: &RawValue, path: &str) -> ApiError {
        let kind = match self {
            Kind::Text => "TYPE_STRING",
            Kind::Number => "TYPE_FLOAT",
            Kind::Integer => "TYPE_INT64",
            Kind::Bool => "TYPE_BOOL",
            _ => "TYPE_MESSAGE",
        };
        let shown: String = raw.get().chars().take(60).collect();
        ApiError::at(path, format!("Invalid value at '{path}' ({kind}), {shown}"))
    }
}

fn quoted<T: std::str::FromStr>(raw: &RawValue) -> bool {
    json::text(raw).is_some_and(|text| text.parse::<T>().is_ok())
}

/// The member of that `camelCase` name in either spelling, unless it is null.
pub(crate) fn get<'a>(fields: &Fields<'a>, name: &str) -> Option<&'a RawValue> {
    fields.get(name).or_else(|| fields.get(&snake(name)))
}

/// That member as text, if it is a string.
pub(crate) fn text(fields: &Fields<'_>, name: &str) -> Option<String> {
    get(fields, name).and_then(json::text).map(|text| text.into_owned())
}

/// That member as an object, if it is one.
pub(crate) fn object<'a>(fields: &Fields<'a>, name: &str) -> Option<Fields<'a>> {
    get(fields, name).and_then(json::object)
}

/// That member as an integer, in a string or not.
pub(crate) fn integer(fields: &Fields<'_>, name: &str) -> Option<i64> {
    let raw = get(fields, name)?;
    json::integer(raw).or_else(|| json::text(raw)?.parse().ok())
}

/// That member as a list; an element alone is a list of one.
pub(crate) fn many<'a>(fields: &Fields<'a>, name: &str) -> Vec<&'a RawValue> {
    get(fields, name).map(|raw| json::list(raw).unwrap_or_else(|| vec![raw])).unwrap_or_default()
}

fn camel(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut chars = name.chars().peekable();
    while let Some(c) = chars.next() {
        match chars.peek() {
            Some(next) if c == '_' && next.is_ascii_lowercase() => {
                out.push(next.to_ascii_uppercase());
                chars.next();
            }
            _ => out.push(c),
        }
    }
    out
}

fn snake(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 4);
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gemini::messages::GENERATE;

    fn check(body: &str) -> Result<(), ApiError> {
        GENERATE.check(&Fields::parse(body).unwrap(), "")
    }

    #[test]
    fn both_spellings_and_lone_elements_are_read() {
        for body in [
            r#"{"contents":[{"parts":[{"text":"x"}]}],"systemInstruction":{"parts":{"text":"y"}}}"#,
            r#"{"contents":{"parts":{"text":"x"}},"system_instruction":{"parts":[]},"generation_config":{"max_output_tokens":"5"}}"#,
            r#"{"contents":null,"generationConfig":{"temperature":"0.5","topK":40,"responseSchema":{"any":[1]}}}"#,
        ] {
            assert_eq!(check(body), Ok(()), "{body}");
        }
    }

    #[test]
    fn unknown_names_and_wrong_types_are_refused() {
        for (body, words) in [
            (r#"{"content":[]}"#, "Unknown name \"content\": Cannot find field."),
            (r#"{"contents":[{"parts":[{"txt":"x"}]}]}"#, "Unknown name \"txt\" at 'contents[0].parts[0]'"),
            (r#"{"generationConfig":{"topQ":1}}"#, "at 'generation_config'"),
            (r#"{"contents":"x"}"#, "Invalid value at 'contents' (TYPE_MESSAGE), \"x\""),
            (
                r#"{"generationConfig":{"topK":1.5}}"#,
                "Invalid value at 'generation_config.top_k' (TYPE_INT64), 1.5",
            ),
            (r#"{"store":1}"#, "(TYPE_BOOL)"),
        ] {
            let error = check(body).expect_err(body);
            assert_eq!((error.http, error.status.as_str()), (400, "INVALID_ARGUMENT"));
            assert!(error.message.contains(words), "{}", error.message);
        }
    }
}
