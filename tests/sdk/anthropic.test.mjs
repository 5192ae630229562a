// The real `@anthropic-ai/sdk` package for Node, with its base URL and key changed and nothing else. ORIGIN and API_KEY say where to,
// PROVIDER_URL where the simulated provider tells of its state.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import net from 'node:net';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';

import Anthropic from '@anthropic-ai/sdk';

const { ORIGIN: origin, API_KEY: key, PROVIDER_URL: provider } = process.env;
assert.ok(origin && key && provider, 'ORIGIN, API_KEY and PROVIDER_URL are needed');

const model = 'claude-haiku-4-5';
const concurrent = 30;
// The simulated provider is asked about the jobs of one key as seldom as the real one; tests need not wait for each other.
let keys = 0;
const newKey = (kind = '') => `sk-ant-${kind}${key}-node-${keys++}`;
const newClient = (options = {}) => new Anthropic({ baseURL: origin, apiKey: newKey(), ...options });

// A text that no other call has; the simulator's ledger tells calls apart by it.
const marker = () => `m-${randomUUID()}`;
const asking = (content, more = {}) => ({ model, max_tokens: 1024, messages: [{ role: 'user', content }], ...more });
const textsOf = (message) => message.content.filter(({ type }) => type === 'text').map(({ text }) => text);
const say = (content, { using = newClient(), ...options } = {}) => using.messages.create(asking(content), options);

async function caught(promise, type, status, kind) {
  const error = await promise.then(
    () => assert.fail('answered instead of refused'),
    (reason) => reason,
  );
  assert.ok(error instanceof type, `${error?.name}: ${error?.message}`);
  assert.deepEqual([error.status, error.type, error.error.type], [status, kind, 'error']);
  assert.ok(error.requestID);
  assert.equal(error.requestID, error.error.request_id);
  return error;
}

test('message', async () => {
  const text = marker();
  const { data, response } = await say(`echo:${text}`).withResponse();
  assert.deepEqual(textsOf(data), [text]);
  assert.equal(data.stop_reason, 'end_turn');
  assert.equal(response.headers.get('x-llm-proxy-route'), 'batch');
  assert.match(response.headers.get('x-llm-proxy-job'), /^msgbatch_/);
});

test('settings of the environment', async () => {
  const text = marker();
  Object.assign(process.env, { ANTHROPIC_BASE_URL: origin, ANTHROPIC_API_KEY: newKey() });
  assert.deepEqual(textsOf(await say(`echo:${text}`, { using: new Anthropic() })), [text]);
  delete process.env.ANTHROPIC_BASE_URL;
  delete process.env.ANTHROPIC_API_KEY;
});

test('ways to give the key', async () => {
  for (const options of [{ authToken: newKey() }, { apiKey: null, defaultHeaders: { 'x-api-key': newKey() } }]) {
    const text = marker();
    const using = new Anthropic({ baseURL: origin, ...options });
    assert.deepEqual(textsOf(await say(`echo:${text}`, { using })), [text]);
  }
});

test('concurrent calls get their own answers', async () => {
  const texts = Array.from({ length: concurrent }, marker);
  const using = newClient();
  const answers = await Promise.all(texts.map((text) => say(`echo:${text}`, { using })));
  assert.deepEqual(answers.map(textsOf), texts.map((text) => [text]));
});

test('error classes', async (t) => {
  const strict = () => newClient({ maxRetries: 0 });
  const refused = (name, make, type, status, kind) =>
    t.test(name, async () => {
      const error = await caught(make(), type, status, kind);
      assert.match(error.requestID, /^req_/);
      assert.equal(error.headers.get('x-llm-proxy-route'), 'batch');
    });
  await t.test('BadRequestError, told at once', async () => {
    const { max_tokens: _, ...body } = asking('hello');
    const promise = newClient().messages.create(body, { timeout: 60_000 });
    const error = await caught(promise, Anthropic.BadRequestError, 400, 'invalid_request_error');
    assert.equal(error.apiMessage, 'max_tokens: Field required');
  });
  await t.test('AuthenticationError', () => {
    const using = newClient({ apiKey: newKey('invalid-') });
    return caught(say('hello', { using }), Anthropic.AuthenticationError, 401, 'authentication_error');
  });
  await refused('BadRequestError of a line',
    () => newClient().messages.create({ ...asking(''), messages: [{ role: 'nobody', content: 'hello' }] }),
    Anthropic.BadRequestError, 400, 'invalid_request_error');
  await refused('NotFoundError', () => newClient().messages.create(asking('hello', { model: 'claude-missing' })),
    Anthropic.NotFoundError, 404, 'not_found_error');
  for (const [status, name, kind] of [
    [429, 'RateLimitError', 'rate_limit_error'],
    [500, 'InternalServerError', 'api_error'],
    [529, 'OverloadedError', 'overloaded_error'],
  ]) {
    await refused(name, () => say(`fail:${status}`, { using: strict() }), Anthropic[name], status, kind);
  }
});

// ---- Streams: what the package's own helper collects is what the call without a stream gives ----

const input_schema = { type: 'object', properties: { text: { type: 'string' } }, required: ['text'] };
const tools = ['left', 'right'].map((name) => ({ name, input_schema }));
const cases = [
  ['text', 'size:300', {}],
  ['tools', 'call:left call:right', { tools }],
  ['thoughts', 'think', { max_tokens: 2048, thinking: { type: 'enabled', budget_tokens: 1024 } }],
  ['citations', 'cite', {}],
  ['refusal', 'refuse', {}],
  ['all of it', 'think cite call:left call:right', { tools }],
];

// What two answers to two texts must differ in is taken out, and what the helper parses on top of an answer.
function plain(value, text) {
  const json = JSON.stringify(value, (key, one) => {
    if (one === null || key.startsWith('parsed')) return undefined;
    if (key === 'id') return one.replace(/[0-9a-f]+$/, '');
    return key === 'signature' || key === 'data' ? one.length : one;
  });
  return JSON.parse(json.replaceAll(text, 'TEXT'));
}

for (const [way, part] of [['messages', (client) => client.messages], ['beta', (client) => client.beta.messages]]) {
  test(`helper for streams, ${way}`, { concurrency: true }, async (t) => {
    const client = newClient();
    await Promise.all(cases.map(([name, order, more]) => t.test(name, async () => {
      const [text, streamedText] = [marker(), marker()];
      const stream = part(client).stream(asking(`echo:${streamedText} ${order}`, more));
      let joined = '';
      stream.on('text', (delta) => { joined += delta; });
      const [whole, final] = await Promise.all([
        part(client).create(asking(`echo:${text} ${order}`, more)),
        stream.finalMessage(),
      ]);
      assert.deepEqual(plain(final, streamedText), plain(whole, text));
      assert.equal(joined, textsOf(final).join(''));
    })));
  });
}

test('a stream is batched', async () => {
  const text = marker();
  const { data, response } = await newClient().messages
    .create(asking(`echo:${text}`, { stream: true }))
    .withResponse();
  assert.equal(response.headers.get('x-llm-proxy-route'), 'batch');
  let streamed = '';
  for await (const event of data) if (event.type === 'content_block_delta') streamed += event.delta.text;
  assert.equal(streamed, text);
});

// ---- Betas and relayed calls ----

test('a beta that batches alone have', async () => {
  const text = marker();
  const betas = ['output-300k-2026-03-24'];
  const stream = newClient().beta.messages.stream(asking(`echo:${text}`, { max_tokens: 200_000, betas }));
  assert.deepEqual(textsOf(await stream.finalMessage()), [text]);
});

test('relayed calls', async () => {
  const client = newClient();
  const { max_tokens: _, ...counted } = asking('hello');
  const { data, response } = await client.messages.countTokens(counted).withResponse();
  assert.ok(data.input_tokens > 0);
  assert.equal(response.headers.get('x-llm-proxy-route'), 'relay');
  const models = [];
  for await (const listed of client.models.list()) models.push(listed.id);
  assert.ok(models.includes(model));
});

test('batches of the caller are relayed', async () => {
  const { batches } = newClient().messages;
  const text = marker();
  const { id } = await batches.create({ requests: [{ custom_id: 'one', params: asking(`echo:${text}`) }] });
  while ((await batches.retrieve(id)).processing_status !== 'ended') await pause(50);
  const results = [];
  for await (const line of await batches.results(id)) results.push(line);
  assert.deepEqual(results.map(({ custom_id, result }) => [custom_id, textsOf(result.message)]), [['one', [text]]]);
  assert.equal((await batches.delete(id)).type, 'message_batch_deleted');
});

// ---- Lost connections ----

// A way to the proxy whose connections can be broken off.
async function breakingWay() {
  const { hostname, port } = new URL(origin);
  const callers = [];
  const server = net.createServer((caller) => {
    callers.push(caller);
    const proxy = net.connect(Number(port), hostname);
    for (const [one, other] of [[caller, proxy], [proxy, caller]]) {
      one.pipe(other);
      one.on('error', () => {}).on('close', () => other.destroy());
    }
  });
  await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
  const cut = () => callers.splice(0).forEach((caller) => caller.destroy());
  const close = () => {
    cut();
    server.close();
  };
  return { url: `http://127.0.0.1:${server.address().port}`, callers, cut, close };
}

test('a lost connection is not paid twice', async () => {
  const text = marker();
  const ask = async (path) => (await fetch(`${provider}/_sim/${path}`)).json();
  const way = await breakingWay();
  const using = newClient({ baseURL: way.url });
  const answer = using.messages.create(asking(`echo:${text} slow:5000`, { model: `claude-${text}` }));
  const isRunning = ({ model: of, status }) => of === `claude-${text}` && status === 'in_progress';
  while (!(await ask('state')).batches.some(isRunning)) await pause(50);
  way.cut();
  assert.deepEqual(textsOf(await answer), [text]);
  assert.notEqual(way.callers.length, 0);
  way.close();
  const { entries } = await ask('ledger?limit=1000000');
  assert.deepEqual(entries.filter((entry) => entry.marker === text).map(({ billed }) => billed), [true]);
});
