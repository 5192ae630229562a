// Chat completions side by side, which llm-proxy sends as one batch (npm install openai). The arguments are the prompts.
import OpenAI from 'openai';

const given = process.argv.slice(2);
const prompts = given.length ? given : ['France', 'Japan', 'Peru'].map((country) => `What is the capital of ${country}?`);

// The key is taken from OPENAI_API_KEY.
const client = new OpenAI({ baseURL: process.env.OPENAI_BASE_URL ?? 'http://127.0.0.1:3030/v1' });

async function ask(content) {
  const answer = await client.chat.completions.create({
    model: 'gpt-4o-mini',
    messages: [{ role: 'user', content }],
  });
  return answer.choices[0].message.content;
}

for (const answer of await Promise.all(prompts.map(ask))) console.log(answer);
