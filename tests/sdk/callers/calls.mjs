// Makes the calls that it reads from standard input, all at once, each with a client of its own, and prints what came of
// each.
import { text as readAll } from 'node:stream/consumers';

import { generateText, streamText } from 'ai';

async function joined(stream, textOf) {
  let text = '';
  for await (const part of stream) text += textOf(part) ?? '';
  return text;
}

// ---- openai ----

const openai = (name) => async (call) => {
  const { default: OpenAI } = await import(name);
  const client = new OpenAI({ baseURL: call.base_url, apiKey: call.key });
  // Given to a call, and not to the client, a timeout is told to the server.
  const options = call.timeout === null ? {} : { timeout: call.timeout * 1000 };
  if (call.api === 'responses') {
    const body = { model: call.model, input: call.text };
    if (!call.stream) return (await client.responses.create(body, options)).output_text;
    const events = await client.responses.create({ ...body, stream: true }, options);
    return joined(events, (event) => (event.type === 'response.output_text.delta' ? event.delta : ''));
  }
  const body = { model: call.model, messages: [{ role: 'user', content: call.text }] };
  if (!call.stream) return (await client.chat.completions.create(body, options)).choices[0].message.content;
  const chunks = await client.chat.completions.create({ ...body, stream: true }, options);
  return joined(chunks, (chunk) => chunk.choices[0]?.delta?.content);
};

// ---- AI SDK ----

// The packages of providers, and what makes a client of each.
const packages = {
  azure: ['@ai-sdk/azure', 'createAzure'],
  groq: ['@ai-sdk/groq', 'createGroq'],
  mistral: ['@ai-sdk/mistral', 'createMistral'],
  openrouter: ['@openrouter/ai-sdk-provider', 'createOpenRouter'],
  together: ['@ai-sdk/togetherai', 'createTogetherAI'],
  xai: ['@ai-sdk/xai', 'createXai'],
};

async function maker(call) {
  const [name, make] = packages[call.provider] ?? ['@ai-sdk/openai', 'createOpenAI'];
  return (await import(name))[make];
}

// A model of the API that the call is for, or of the one that the package takes by itself.
function modelOf(provider, { api, model }) {
  if (api === 'default') return provider(model);
  return api === 'responses' ? provider.responses(model) : provider.chat(model);
}

// It has no time limit of its own, so that it is told of in the header for everybody.
async function ai(call) {
  const provider = (await maker(call))({ baseURL: call.base_url, apiKey: call.key, headers: hint(call) });
  const used = modelOf(provider, call);
  if (!call.stream) {
    const { text, usage } = await generateText({ model: used, prompt: call.text });
    return { text, tokens: usage.totalTokens };
  }
  // Errors of a stream are given to a callback and to the full stream.
  const { fullStream } = streamText({ model: used, prompt: call.text, onError: () => {} });
  let tokens;
  const text = await joined(fullStream, (part) => {
    if (part.type === 'error') throw part.error;
    if (part.type === 'finish') tokens = part.totalUsage.totalTokens;
    return part.type === 'text-delta' ? part.text : '';
  });
  return { text, tokens };
}

// ---- fetch ----

const hint = (call) => (call.timeout === null ? {} : { 'x-server-timeout': String(call.timeout) });

async function viaFetch(call) {
  const answer = await fetch(`${call.base_url}/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${call.key}`, ...hint(call) },
    body: JSON.stringify({ model: call.model, messages: [{ role: 'user', content: call.text }], stream: call.stream }),
  });
  const body = await answer.text();
  if (!answer.ok) {
    throw Object.assign(new Error(body), { status: answer.status, code: JSON.parse(body).error.code });
  }
  if (!call.stream) return JSON.parse(body).choices[0].message.content;
  const lines = body.split('\n').filter((line) => line.startsWith('data: {'));
  const data = lines.map((line) => JSON.parse(line.slice(6)));
  const failed = data.find((chunk) => chunk.error);
  if (failed) throw Object.assign(new Error(failed.error.message), { code: failed.error.code });
  if (!body.trimEnd().endsWith('data: [DONE]')) throw new Error('a stream without an end');
  return data.map((chunk) => chunk.choices[0]?.delta?.content ?? '').join('');
}

// ---- All of them ----

const clients = { openai: openai('openai'), 'openai-6': openai('openai-6'), ai, fetch: viaFetch };

function kinds(error) {
  const names = [];
  for (let type = error.constructor; type?.name; type = Object.getPrototypeOf(type)) names.push(type.name);
  return names;
}

// An exception as the tests look at it; of the AI SDK's several attempts the last one counts.
function told(thrown) {
  const error = thrown.lastError ?? thrown;
  return {
    types: [...(error === thrown ? [] : kinds(thrown)), ...kinds(error)],
    status: error.status ?? error.statusCode ?? null,
    code: error.code ?? error.data?.error?.code ?? null,
    message: String(error.message ?? error),
  };
}

async function make(call) {
  try {
    const answer = await clients[call.client](call);
    return typeof answer === 'string' ? { text: answer } : answer;
  } catch (thrown) {
    return { error: told(thrown) };
  }
}

const calls = JSON.parse(await readAll(process.stdin));
// Imports take time, and must not take it from a call's patience.
await Promise.all(['openai', 'openai-6'].map((name) => import(name)).concat(calls.map(maker)));
process.stdout.write(JSON.stringify(await Promise.all(calls.map(make))));
