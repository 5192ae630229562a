// The AI SDK with `@ai-sdk/anthropic`, with its base URL and key changed and nothing else. ORIGIN and API_KEY say where to.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { test } from 'node:test';

import { createAnthropic } from '@ai-sdk/anthropic';
import { APICallError, generateText, jsonSchema, streamText, tool } from 'ai';

const { ORIGIN: origin, API_KEY: key } = process.env;
assert.ok(origin && key, 'ORIGIN and API_KEY are needed');

let keys = 0;
const newModel = (name = 'claude-haiku-4-5', kind = '') =>
  createAnthropic({ baseURL: `${origin}/v1`, apiKey: `sk-ant-${kind}${key}-ai-${keys++}` })(name);
const marker = () => `m-${randomUUID()}`;

const inputSchema = jsonSchema({ type: 'object', properties: { text: { type: 'string' } }, required: ['text'] });
const tools = { left: tool({ inputSchema }), right: tool({ inputSchema }) };
const cases = [
  ['text', 'size:300', {}],
  ['tools', 'call:left call:right', { tools }],
  ['thoughts', 'think', {}],
  ['citations', 'cite', {}],
];

// What two answers to two texts must differ in is taken out, and the part that streams alone have: how the message began.
function plain(parts, text) {
  const kept = parts.filter(({ kind }) => kind !== 'anthropic.message_start');
  const json = JSON.stringify(kept, (name, one) => {
    if (name === 'id' || name === 'toolCallId') return one.replace(/[0-9a-f-]+$/, '');
    return name === 'signature' || name === 'redactedData' ? one.length : one;
  });
  return JSON.parse(json.replaceAll(text, 'TEXT'));
}

test('a stream gives what the call without one gives', { concurrency: true }, async (t) => {
  const model = newModel();
  await Promise.all(cases.map(([name, order, more]) => t.test(name, async () => {
    const [text, streamedText] = [marker(), marker()];
    const stream = streamText({ model, prompt: `echo:${streamedText} ${order}`, ...more });
    const [whole, content, usage] = await Promise.all([
      generateText({ model, prompt: `echo:${text} ${order}`, ...more }),
      stream.content,
      stream.usage,
    ]);
    assert.deepEqual(plain(content, streamedText), plain(whole.content, text));
    assert.equal(usage.outputTokens, whole.usage.outputTokens);
    if (name !== 'text') assert.ok(whole.text.includes(text));
  })));
});

test('errors', async (t) => {
  const refused = (name, model, prompt, status) =>
    t.test(name, async () => {
      const error = await generateText({ model, prompt, maxRetries: 0 }).catch((reason) => reason);
      assert.ok(APICallError.isInstance(error), `${error?.name}: ${error?.message}`);
      assert.equal(error.statusCode, status);
      return error;
    });
  await refused('of a line', newModel(), 'fail:400', 400);
  await refused('model', newModel('claude-missing'), 'hello', 404);
  await refused('key', newModel(undefined, 'invalid-'), 'hello', 401);
  await refused('overloaded', newModel(), 'fail:529', 529);
});
