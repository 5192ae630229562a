// The real `@google/genai` and the AI SDK with `@ai-sdk/google`, with base URL and key changed and nothing else. BASE_URL and API_KEY say
// where to.
import assert from 'node:assert/strict';
import { createHash, randomUUID } from 'node:crypto';
import { test } from 'node:test';

import { createGoogle } from '@ai-sdk/google';
import { ApiError, FinishReason, GoogleGenAI } from '@google/genai';
import { APICallError, embed, embedMany, generateText, jsonSchema, streamText, tool } from 'ai';

const { BASE_URL: baseUrl, API_KEY: apiKey } = process.env;
assert.ok(baseUrl && apiKey, 'BASE_URL and API_KEY are needed');

const model = 'gemini-2.5-flash';
const embeddingModel = 'gemini-embedding-001';
const concurrent = 30;

const client = new GoogleGenAI({ apiKey, httpOptions: { baseUrl } });
const google = createGoogle({ apiKey, baseURL: `${baseUrl}/v1beta` });

// A text that no other call has; the simulator's ledger tells calls apart by it.
const marker = () => `m-${randomUUID()}`;
const generate = (contents, { using = client, ...more } = {}) =>
  using.models.generateContent({ model, contents, ...more });
const route = (answer) => answer.sdkHttpResponse.headers['x-llm-proxy-route'];

async function caught(promise, type) {
  const error = await promise.then(
    () => assert.fail('answered instead of refused'),
    (reason) => reason,
  );
  assert.ok(error instanceof type, `${error?.name}: ${error?.message}`);
  return error;
}

function assertVector(values, text) {
  const expected = [...createHash('sha256').update(text).digest()].map((byte) => byte / 127.5 - 1);
  assert.ok(values.length > 1);
  values.forEach((value, i) => assert.ok(Math.abs(value - expected[i % 32]) < 1e-5));
}

async function all(parts) {
  const collected = [];
  for await (const part of parts) collected.push(part);
  return collected;
}

// ---- @google/genai ----

test('generateContent', async () => {
  const text = marker();
  const answer = await generate(`echo:${text}`);
  assert.equal(answer.text, text);
  assert.equal(answer.candidates[0].finishReason, FinishReason.STOP);
  assert.equal(route(answer), 'batch');
  assert.match(answer.sdkHttpResponse.headers['x-llm-proxy-job'], /^batches\//);
});

test('concurrent calls get their own answers', async () => {
  const texts = Array.from({ length: concurrent }, marker);
  const answers = await Promise.all(texts.map((text) => generate(`echo:${text}`)));
  assert.deepEqual(answers.map((answer) => answer.text), texts);
});

const streams = [
  ['text', 'size:300', {}],
  ['function calls', 'call:left call:right', {}],
  ['two candidates', '', { candidateCount: 2 }],
  ['refusal', 'refuse', {}],
];
// Text, function calls and end of every candidate.
function madeUp(chunks, text) {
  const candidates = {};
  for (const { index = 0, content, finishReason } of chunks.flatMap((chunk) => chunk.candidates)) {
    const candidate = (candidates[index] ??= { text: '', calls: [], ends: [] });
    for (const part of content?.parts ?? []) {
      candidate.text += part.text ?? '';
      if (part.functionCall) candidate.calls.push(part.functionCall);
    }
    if (finishReason) candidate.ends.push(finishReason);
  }
  return JSON.parse(JSON.stringify(candidates).replaceAll(text, 'TEXT'));
}
for (const [name, order, config] of streams) {
  test(`a stream makes up the answer: ${name}`, async () => {
    const [text, streamedText] = [marker(), marker()];
    const contents = `echo:${streamedText} ${order}`;
    const [whole, chunks] = await Promise.all([
      generate(`echo:${text} ${order}`, { config }),
      client.models.generateContentStream({ model, contents, config }).then(all),
    ]);
    assert.equal(route(chunks[0]), 'batch');
    assert.deepEqual(madeUp(chunks, streamedText), madeUp([whole], text));
    assert.deepEqual(chunks.at(-1).usageMetadata, whole.usageMetadata);
  });
}

test('errors have their status', async (t) => {
  for (const [status, name] of [
    [400, 'INVALID_ARGUMENT'],
    [404, 'NOT_FOUND'],
    [429, 'RESOURCE_EXHAUSTED'],
    [500, 'INTERNAL'],
    [503, 'UNAVAILABLE'],
  ]) {
    await t.test(name, async () => {
      const error = await caught(generate(`fail:${status}`), ApiError);
      assert.equal(error.status, status);
      assert.equal(JSON.parse(error.message).error.status, name);
    });
  }
  await t.test('in a stream', async () => {
    const contents = 'fail:429';
    const error = await caught(client.models.generateContentStream({ model, contents }).then(all), ApiError);
    assert.equal(error.status, 429);
  });
  await t.test('unknown model', async () => {
    const error = await caught(generate('hello', { model: 'no-such-model' }), ApiError);
    assert.equal(error.status, 404);
    assert.match(error.message, /no-such-model/);
  });
  await t.test('invalid key', async () => {
    const using = new GoogleGenAI({ apiKey: 'AIza-invalid-key-of-a-test', httpOptions: { baseUrl } });
    const error = await caught(generate('hello', { using }), ApiError);
    assert.equal(error.status, 400);
    assert.match(error.message, /API_KEY_INVALID/);
    assert.doesNotMatch(error.message, /key-of-a-test/);
  });
});

test('what is relayed', async (t) => {
  await t.test('embeddings', async () => {
    const contents = [marker(), marker()];
    const answer = await client.models.embedContent({ model: embeddingModel, contents });
    assert.equal(route(answer), 'relay');
    answer.embeddings.forEach(({ values }, i) => assertVector(values, contents[i]));
  });
  await t.test('counting of tokens', async () => {
    const answer = await client.models.countTokens({ model, contents: marker() });
    assert.equal(route(answer), 'relay');
    assert.ok(answer.totalTokens > 0);
  });
  await t.test('models', async () => {
    const models = await all(await client.models.list());
    assert.ok(models.some(({ name }) => name === `models/${model}`));
  });
  await t.test('a file in chunks', async () => {
    const file = new Blob([new Uint8Array(10_000_000)]);
    const { name } = await client.files.upload({ file, config: { mimeType: 'text/plain' } });
    const { sizeBytes } = await client.files.get({ name });
    await client.files.delete({ name });
    assert.equal(Number(sizeBytes), file.size);
  });
});

// ---- AI SDK ----

const says = (text, more = {}) => ({ model: google(model), prompt: `echo:${text}`, ...more });

test('AI SDK: generateText', async () => {
  const text = marker();
  const { text: answered, response } = await generateText(says(text));
  assert.equal(answered, text);
  assert.equal(response.headers['x-llm-proxy-route'], 'batch');
});

test('AI SDK: streamText', async () => {
  const text = marker();
  assert.equal((await all(streamText(says(text)).textStream)).join(''), text);
});

test('AI SDK: a tool, whole and streamed', async () => {
  const text = marker();
  const inputSchema = jsonSchema({ type: 'object', properties: { text: { type: 'string' } } });
  const more = { tools: { left: tool({ inputSchema }) } };
  const { toolCalls } = await generateText(says(`${text} call:left`, more));
  assert.deepEqual(toolCalls.map(({ toolName, input }) => [toolName, input]), [['left', { text }]]);
  const streamedText = marker();
  const streamed = await streamText(says(`${streamedText} call:left`, more)).toolCalls;
  assert.deepEqual(streamed.map(({ toolName, input }) => [toolName, input]), [['left', { text: streamedText }]]);
});

test('AI SDK: one embedding is batched, several are relayed', async () => {
  const used = google.embedding(embeddingModel);
  const value = marker();
  const one = await embed({ model: used, value });
  assert.equal(one.response.headers['x-llm-proxy-route'], 'batch');
  assertVector(one.embedding, value);
  const values = [marker(), marker()];
  const several = await embedMany({ model: used, values });
  assert.equal(several.responses[0].headers['x-llm-proxy-route'], 'relay');
  several.embeddings.forEach((embedding, i) => assertVector(embedding, values[i]));
});

test('AI SDK: errors have their status', async () => {
  for (const status of [400, 404, 429, 500, 503]) {
    const error = await caught(generateText({ model: google(model), prompt: `fail:${status}`, maxRetries: 0 }), APICallError);
    assert.equal(error.statusCode, status);
    assert.equal(error.data.error.code, status);
  }
});
