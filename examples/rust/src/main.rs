//! One chat completion with async-openai. The argument is the prompt.

use std::{env, error::Error};

use async_openai::{
    Client,
    config::OpenAIConfig,
    types::chat::{ChatCompletionRequestUserMessage, CreateChatCompletionRequestArgs},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let prompt = env::args().nth(1).unwrap_or_else(|| "What is the capital of France?".to_owned());
    let base = env::var("OPENAI_BASE_URL").unwrap_or_else(|_| "http://127.0.0.1:3030/v1".to_owned());

    // The key is taken from OPENAI_API_KEY.
    let client = Client::with_config(OpenAIConfig::new().with_api_base(base));
    let request = CreateChatCompletionRequestArgs::default()
        .model("gpt-4o-mini")
        .messages([ChatCompletionRequestUserMessage::from(prompt).into()])
        .build()?;
    let answer = client.chat().create(request).await?;
    let text = answer.choices.first().and_then(|choice| choice.message.content.as_deref());
    println!("{}", text.ok_or("an answer without text")?);
    Ok(())
}
