use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::dialect::json::arbitrary::{space, value, written};

fn renamed(body: &str, unnamed: Unnamed) -> String {
    match rename(body.as_bytes(), "new", unnamed).unwrap() {
        Some((new, edit)) => {
            assert_eq!(edit.undo(&new), body);
            String::from_utf8(new.to_vec()).unwrap()
        }
        None => body.to_owned(),
    }
}

#[test]
fn the_value_is_replaced_and_nothing_else() {
    for (body, expected) in [
        (r#"{"model":"old"}"#, r#"{"model":"new"}"#),
        ("{\r\n \"n\": 1e999,\t\"model\" : \"old\" \n}\n", "{\r\n \"n\": 1e999,\t\"model\" : \"new\" \n}\n"),
        (r#"{"mod\u0065l":"o\"}\u006cd","x":"model"}"#, r#"{"mod\u0065l":"new","x":"model"}"#),
        (r#"{"model":null}"#, r#"{"model":"new"}"#),
        (r#"{"model":{"model":"old"}}"#, r#"{"model":"new"}"#),
        (r#"{"model":"n\u0065w"}"#, r#"{"model":"n\u0065w"}"#),
        (
            r#"{"metadata":{"model":"a"},"tools":[{"model":"b"}],"model":"old","\ud800":1}"#,
            r#"{"metadata":{"model":"a"},"tools":[{"model":"b"}],"model":"new","\ud800":1}"#,
        ),
    ] {
        for unnamed in [Unnamed::Names, Unnamed::Stays] {
            assert_eq!(renamed(body, unnamed), expected);
        }
    }
}

#[test]
fn a_body_without_a_model_is_given_one() {
    for (body, expected) in [
        ("{}", r#"{"model":"new"}"#),
        (" { } ", r#" {"model":"new" } "#),
        ("\n{ \"a\":{\"model\":1}}", "\n{\"model\":\"new\", \"a\":{\"model\":1}}"),
    ] {
        assert_eq!(renamed(body, Unnamed::Names), expected);
        assert_eq!(renamed(body, Unnamed::Stays), body);
    }
}

#[test]
fn a_name_is_quoted() {
    let (body, _) = rename(b"{}", "a\"\\\n", Unnamed::Names).unwrap().unwrap();
    assert_eq!(body, r#"{"model":"a\"\\\n"}"#);
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    for body in [
        r#"{"model":"a","model":"a"}"#,
        r#"{"model":"new","model":"new"}"#,
        r#"{"model":"a","mod\u0065l":null}"#,
        r#"["model"]"#,
        r#""{""#,
        "",
        "{",
    ] {
        assert_eq!(rename(body.as_bytes(), "new", Unnamed::Names).unwrap_err().status, 400, "{body}");
    }
    assert!(rename(b"{\"\xff\":1}", "new", Unnamed::Stays).is_err());
}

proptest! {
    /// Members in any form, one of them perhaps the model: read by another parser, only the model is another one.
    #[test]
    fn another_parser_reads_the_same_but_for_the_model(
        members in vec(("[a-z{}\":\\\\\u{e9}]{0,3}|models?", any::<u64>(), space(), value()), 0..6),
        name in ".{1,6}",
        around in space(),
    ) {
        let members: Vec<String> = members
            .iter()
            .map(|(key, escape, space, value)| format!("{space}{}{space}:{space}{value}{space}", written(key, *escape)))
            .collect();
        let body = format!("{around}{{{}}}{around}", members.join(","));
        let parsed = serde_json::from_str::<Value>(&body);
        let keys = members.iter().filter(|member| {
            let key: serde_json::Result<Vec<Value>> = serde_json::Deserializer::from_str(member).into_iter().take(1).collect();
            key.is_ok_and(|key| key == ["model"])
        });
        match (keys.count(), rename(body.as_bytes(), &name, Unnamed::Names)) {
            (0 | 1, Ok(None)) => prop_assert_eq!(&parsed.unwrap()["model"], &Value::from(name)),
            (0 | 1, Ok(Some((new, edit)))) => {
                prop_assert_eq!(edit.undo(&new), body.clone());
                // Numbers beyond a parser's are left alone too, which it cannot tell.
                let (Ok(mut before), Ok(after)) = (parsed, serde_json::from_slice::<Value>(&new)) else { return Ok(()) };
                before["model"] = name.into();
                prop_assert_eq!(before, after);
            }
            (2.., Err(problem)) => prop_assert_eq!(problem.status, 400),
            (count, other) => prop_assert!(false, "{} {:?} {}", count, other, body),
        }
    }
}
