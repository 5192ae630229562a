// The real `openai` package for Node, with its base URL and key changed and nothing else. BASE_URL and API_KEY say where to, PACKAGE which
// of the installed versions is used.
import assert from 'node:assert/strict';
import { createHash, randomUUID } from 'node:crypto';
import { test } from 'node:test';

const { BASE_URL: baseURL, API_KEY: apiKey, PACKAGE = 'openai' } = process.env;
assert.ok(baseURL && apiKey, 'BASE_URL and API_KEY are needed');
const { default: OpenAI } = await import(PACKAGE);

const model = 'gpt-4o-mini';
const embeddingModel = 'text-embedding-3-small';
const concurrent = 50;

const client = new OpenAI({ baseURL, apiKey });
// For errors that the SDK would retry.
const strictClient = new OpenAI({ baseURL, apiKey, maxRetries: 0 });

// A text that no other call has; the simulator's ledger tells calls apart by it.
const marker = () => `m-${randomUUID()}`;
const chat = (content, { using = client, ...options } = {}) =>
  using.chat.completions.create({ model, messages: [{ role: 'user', content }] }, options);

async function caught(promise, type, status) {
  const error = await promise.then(
    () => assert.fail('answered instead of refused'),
    (reason) => reason,
  );
  assert.ok(error instanceof type, `${error?.name}: ${error?.message}`);
  assert.equal(error.status, status);
  assert.ok(error.requestID);
  return error;
}

test('chat', async () => {
  const text = marker();
  const { data, response, request_id } = await chat(`echo:${text}`).withResponse();
  assert.equal(data.choices[0].message.content, text);
  assert.equal(response.headers.get('x-llm-proxy-route'), 'batch');
  assert.match(response.headers.get('x-llm-proxy-job'), /^batch_/);
  assert.ok(request_id);
});

test('responses', async () => {
  const text = marker();
  const answer = await client.responses.create({ model, input: `echo:${text}` });
  assert.equal(answer.output_text, text);
});

test('embeddings, base64 on the wire by default', async () => {
  const input = marker();
  const [byDefault, asFloats] = await Promise.all([
    client.embeddings.create({ model: embeddingModel, input, dimensions: 8 }),
    client.embeddings.create({ model: embeddingModel, input, dimensions: 8, encoding_format: 'float' }),
  ]);
  const expected = [...createHash('sha256').update(input).digest().subarray(0, 8)].map((byte) => byte / 127.5 - 1);
  for (const { data } of [byDefault, asFloats]) {
    assert.equal(data[0].embedding.length, 8);
    data[0].embedding.forEach((value, i) => assert.ok(Math.abs(value - expected[i]) < 1e-5));
  }
});

test('concurrent calls get their own answers', async () => {
  const texts = Array.from({ length: concurrent }, marker);
  const answers = await Promise.all(texts.map((text) => chat(`echo:${text}`)));
  assert.deepEqual(answers.map((answer) => answer.choices[0].message.content), texts);
});

test('error classes', async (t) => {
  await t.test('BadRequestError', () =>
    caught(client.chat.completions.create({ model, messages: 'not a list' }), OpenAI.BadRequestError, 400));
  await t.test('AuthenticationError, key missing', () =>
    caught(chat('hello', { headers: { Authorization: null } }), OpenAI.AuthenticationError, 401));
  await t.test('AuthenticationError, key invalid', async () => {
    const using = new OpenAI({ baseURL, apiKey: 'sk-invalid-key-of-a-test' });
    const error = await caught(chat('hello', { using }), OpenAI.AuthenticationError, 401);
    assert.equal(error.code, 'invalid_api_key');
  });
  await t.test('NotFoundError', () => caught(chat('fail:404'), OpenAI.NotFoundError, 404));
  await t.test('RateLimitError', () =>
    caught(chat('fail:429', { using: strictClient }), OpenAI.RateLimitError, 429));
  await t.test('InternalServerError', () =>
    caught(chat('fail:500', { using: strictClient }), OpenAI.InternalServerError, 500));
});

test('a stream is batched', async () => {
  const text = marker();
  const { data, response } = await client.chat.completions
    .create({ model, messages: [{ role: 'user', content: `echo:${text}` }], stream: true })
    .withResponse();
  assert.equal(response.headers.get('x-llm-proxy-route'), 'batch');
  let streamed = '';
  for await (const chunk of data) streamed += chunk.choices[0]?.delta?.content ?? '';
  assert.equal(streamed, text);
});

// ---- The package's own helpers for streams collect what the call without a stream gives ----

const parameters = {
  type: 'object',
  properties: { text: { type: 'string' } },
  required: ['text'],
  additionalProperties: false,
};
const left = { name: 'left', strict: true, parameters };
const right = { name: 'right', strict: true, parameters };

// What two answers to two texts must differ in is taken out, and what the helpers parse on top of an answer.
function plain(value, text) {
  const json = JSON.stringify(value, (key, one) => {
    if (one === null || key.includes('parsed') || key === 'index') return undefined;
    if (key === 'id' || key === 'call_id') return one.replace(/[0-9a-f]+$/, '');
    return key === 'bytes' ? one.length : one;
  });
  return JSON.parse(json.replaceAll(text, 'TEXT'));
}

const chats = [
  ['text', 'size:300', {}],
  ['two choices', '', { n: 2 }],
  ['tools', 'call:left call:right', { tools: [left, right].map((tool) => ({ type: 'function', function: tool })) }],
  ['refusal', 'refuse', {}],
  ['log probabilities', 'size:100', { logprobs: true }],
];
test('helper for chat', { concurrency: true }, async (t) => {
  await Promise.all(chats.map(([name, order, more]) => t.test(name, async () => {
    const asked = (text) => ({ model, messages: [{ role: 'user', content: `echo:${text} ${order}` }], ...more });
    const [text, streamedText] = [marker(), marker()];
    const stream = client.chat.completions.stream({ ...asked(streamedText), stream_options: { include_usage: true } });
    const [whole, final] = await Promise.all([
      client.chat.completions.create(asked(text)),
      stream.finalChatCompletion(),
    ]);
    assert.deepEqual(plain(final.choices, streamedText), plain(whole.choices, text));
    assert.deepEqual(final.usage, whole.usage);
    assert.equal((await stream.totalUsage()).total_tokens, whole.usage.total_tokens);
  })));
});

const responses = [
  ['text', 'size:300', {}],
  ['tools', 'call:left call:right', { tools: [left, right].map((tool) => ({ type: 'function', ...tool })) }],
  ['refusal', 'refuse', {}],
];
test('helper for responses', { concurrency: true }, async (t) => {
  await Promise.all(responses.map(([name, order, more]) => t.test(name, async () => {
    const asked = (text) => ({ model, input: `echo:${text} ${order}`, ...more });
    const [text, streamedText] = [marker(), marker()];
    const stream = client.responses.stream(asked(streamedText));
    const [whole, final] = await Promise.all([client.responses.create(asked(text)), stream.finalResponse()]);
    assert.deepEqual(plain(final.output, streamedText), plain(whole.output, text));
    assert.deepEqual(final.usage, whole.usage);
  })));
});
