use std::fs;

use clap::Args as _;

use super::*;

const A: &str = "token-of-a-0123456789";
const B: &str = "token-of-b-9876543210-longer";
const SPACED: &str = "token-of-c-0123456789, longer";

fn tokens(variable: &str, file: Option<PathBuf>) -> Result<Tokens, ConfigError> {
    Tokens::of(read::variable(Some(variable.into()))?, file)
}

fn file(content: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), content).unwrap();
    file
}

fn admits(tokens: &Tokens, values: &[&str]) -> bool {
    let lines = values.iter().map(|value| (TOKEN, value.parse().unwrap()));
    let mut headers = HeaderMap::new();
    lines.for_each(|(name, value)| {
        headers.append(name, value);
    });
    match tokens.check(&headers) {
        Ok(()) => true,
        Err(problem) => {
            assert_eq!(problem.status, 401);
            false
        }
    }
}

#[test]
fn any_of_them_lets_in_and_nothing_else() {
    let file = file(&format!("# a comment that is long enough\r\n\r\n  {B} \r\n"));
    let tokens = tokens(A, Some(file.path().to_owned())).unwrap();
    assert_eq!(tokens.count(), 2);
    assert!(admits(&tokens, &[A]) && admits(&tokens, &[B]));
    let prefix = &A[..A.len() - 1];
    let longer = format!("{A}x");
    for values in
        [&[][..], &[""], &[prefix], &[&longer], &[A, A], &[A, "x"], &["Bearer token-of-a-0123456789"]]
    {
        assert!(!admits(&tokens, values), "{values:?}");
    }
}

#[test]
fn what_is_wrong_is_said_without_the_token() {
    let none = tokens("", None).err().unwrap().to_string();
    assert!(none.contains("--require-token") && none.contains(VARIABLE), "{none}");
    let short = tokens("\nhush-hush", None).err().unwrap().to_string();
    assert!(short.contains("line 2") && short.contains("9 bytes") && !short.contains("hush"), "{short}");
    let spaced = tokens(SPACED, None).err().unwrap().to_string();
    assert!(spaced.contains("visible") && !spaced.contains("token-of"), "{spaced}");
    let missing = tokens(A, Some("/nonexistent/tokens".into())).err().unwrap().to_string();
    assert!(missing.contains("--token-file /nonexistent/tokens"), "{missing}");
    let empty = file("# none yet\n");
    assert!(tokens(A, Some(empty.path().to_owned())).err().unwrap().to_string().contains("no token in it"));
    let many = format!("{A}\n").repeat(1001);
    assert!(tokens(&many, None).err().unwrap().to_string().contains("line 1001: more than 1000"));
    let large = file(&"#".repeat(1 << 20 | 1));
    assert!(tokens(A, Some(large.path().to_owned())).is_err());
}

#[test]
fn a_changed_file_counts_and_a_broken_one_does_not() {
    let file = file(A);
    let tokens = tokens("", Some(file.path().to_owned())).unwrap();
    fs::write(file.path(), B).unwrap();
    tokens.reload().unwrap();
    assert!(!admits(&tokens, &[A]) && admits(&tokens, &[B]));
    for broken in ["", "short"] {
        fs::write(file.path(), broken).unwrap();
        assert!(tokens.reload().is_err());
        assert!(admits(&tokens, &[B]));
    }
}

#[test]
fn tokens_that_nothing_requires_are_a_mistake() {
    let args = |words: &[&str]| {
        use clap::FromArgMatches as _;
        let command = Args::augment_args(clap::Command::new("x").no_binary_name(true));
        Args::from_arg_matches(&command.try_get_matches_from(words).unwrap()).unwrap()
    };
    let file = file(A);
    let given = format!("--token-file={}", file.path().display());
    let said = Tokens::new(&args(&[&given])).err().unwrap().to_string();
    assert!(said.contains("--require-token"), "{said}");
    assert!(Tokens::new(&args(&[])).unwrap().is_none());
    assert!(Tokens::new(&args(&[&given, "--require-token"])).unwrap().is_some());
}
