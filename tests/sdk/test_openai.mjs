// The official OpenAI SDK for Node.js through keymux. See run.sh.

import assert from "node:assert/strict";
import { randomBytes, randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { describe, it, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

const { KEYMUX_URL, RECORDED_URL, RECORDED_KEY, SDK_CLIENT_KEY, KEYMUX_SHARED, SDK_HOME } = process.env;
// The SDK is installed outside the project, where `import` does not look.
const OpenAI = createRequire(`${SDK_HOME}/`)("openai");

// Retries are keymux's business here: one that the SDK adds would hide a failure.
const client = (url, apiKey) => new OpenAI({ baseURL: `${url}/v1`, apiKey, maxRetries: 0, timeout: 30_000 });
const keymux = client(KEYMUX_URL, SDK_CLIENT_KEY);
const direct = client(RECORDED_URL, RECORDED_KEY);

const sentence = "one two three";
const words = sentence.split(" ");
const messages = [{ role: "user", content: sentence }];
const tools = [
  {
    type: "function",
    function: {
      name: "get_weather",
      description: "Weather of a city",
      parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
    },
  },
];

async function all(stream) {
  const items = [];
  for await (const item of stream) items.push(item);
  return items;
}

async function seen(model) {
  return (await fetch(`${RECORDED_URL}/seen?model=${encodeURIComponent(model)}`)).json();
}

describe("echo", () => {
  it("answers a chat", async () => {
    const answer = await keymux.chat.completions.create({ model: "echo/echo", messages });
    assert.equal(answer.choices[0].message.content, sentence);
    assert.equal(answer.choices[0].finish_reason, "stop");
    assert.equal(answer.usage.completion_tokens, 3);
  });

  it("answers a chat by a route", async () => {
    const answer = await keymux.chat.completions.create({ model: "fast", messages });
    assert.equal(answer.choices[0].message.content, sentence);
  });

  it("streams a chat", async () => {
    const options = { stream: true, stream_options: { include_usage: true } };
    const chunks = await all(await keymux.chat.completions.create({ model: "echo/echo", messages, ...options }));
    const parts = chunks.map((chunk) => chunk.choices[0]?.delta.content).filter(Boolean);
    assert.equal(parts.length, 3);
    assert.deepEqual(parts.join("").split(/\s+/), words);
    assert.equal(chunks.at(-1).usage.completion_tokens, 3);
  });

  it("streams a chat by the helper", async () => {
    const stream = keymux.chat.completions.stream({ model: "echo/echo", messages });
    assert.deepEqual((await stream.finalContent()).split(/\s+/), words);
  });

  it("calls a tool", async () => {
    for (const tool_choice of ["required", { type: "function", function: { name: "get_weather" } }]) {
      const answer = await keymux.chat.completions.create({ model: "echo/echo", messages, tools, tool_choice });
      const [call, ...more] = answer.choices[0].message.tool_calls;
      assert.equal(more.length, 0);
      assert.equal(call.function.name, "get_weather");
      assert.equal(typeof JSON.parse(call.function.arguments), "object");
      assert.equal(answer.choices[0].finish_reason, "tool_calls");
    }
  });

  it("streams the call of a tool", async () => {
    const request = { model: "echo/echo", messages, tools, tool_choice: "required", stream: true };
    const chunks = await all(await keymux.chat.completions.create(request));
    const calls = chunks.flatMap((chunk) => chunk.choices).flatMap((choice) => choice.delta.tool_calls ?? []);
    assert.equal(calls.map((call) => call.function.name ?? "").join(""), "get_weather");
    assert.equal(typeof JSON.parse(calls.map((call) => call.function.arguments ?? "").join("")), "object");
  });

  it("embeds", async () => {
    const request = { model: "echo/echo", input: [sentence, "four"] };
    // The SDK asks for base64 by itself and decodes it.
    const packed = await keymux.embeddings.create(request);
    const plain = await keymux.embeddings.create({ ...request, encoding_format: "float" });
    assert.equal(packed.data.length, 2);
    packed.data.forEach(({ embedding }, item) => {
      const other = plain.data[item].embedding;
      assert.ok(embedding.length > 0 && embedding.length === other.length);
      embedding.forEach((value, place) => assert.ok(Math.abs(value - other[place]) < 1e-5));
    });
  });

  it("answers the Responses API", async () => {
    const answer = await keymux.responses.create({ model: "echo/echo", input: sentence });
    assert.equal(answer.output_text, sentence);
    assert.equal(answer.status, "completed");
  });

  it("streams the Responses API", async () => {
    const events = await all(await keymux.responses.create({ model: "echo/echo", input: sentence, stream: true }));
    const text = events.filter((event) => event.type === "response.output_text.delta").map((event) => event.delta);
    assert.deepEqual(text.join("").split(/\s+/), words);
    assert.equal(events[0].type, "response.created");
    assert.equal(events.at(-1).type, "response.completed");
  });

  it("lists models and tells of each", async () => {
    const ids = (await all(await keymux.models.list())).map((model) => model.id);
    assert.ok(ids.includes("fast") && ids.includes("echo/echo"), ids.join(" "));
    for (const id of ids) assert.equal((await keymux.models.retrieve(id)).id, id);
    await assert.rejects(keymux.models.retrieve("no-such-model"), OpenAI.NotFoundError);
  });

  it("answers fifty at once", async () => {
    const ask = async (number) => {
      const request = { model: "echo/echo", messages: [{ role: "user", content: `word ${number}` }], stream: true };
      const chunks = await all(await keymux.chat.completions.create(request));
      return chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("").trim();
    };
    const answers = await Promise.all(Array.from({ length: 50 }, (_, number) => ask(number)));
    answers.forEach((answer, number) => assert.equal(answer, `word ${number}`));
  });
});

describe("errors", () => {
  const chat = (model, more = {}) => keymux.chat.completions.create({ model, messages, ...more });

  it("tells of an unknown model", async () => {
    await assert.rejects(chat("no-such-model"), (error) => {
      assert.ok(error instanceof OpenAI.NotFoundError);
      assert.match(error.message, /no-such-model/);
      assert.equal(error.code, "model_not_found");
      assert.ok(error.headers.get("x-request-id"));
      return true;
    });
  });

  it("refuses a key that it does not know", async () => {
    const request = client(KEYMUX_URL, "sk-not-the-key").chat.completions.create({ model: "echo/echo", messages });
    await assert.rejects(request, (error) => {
      assert.ok(error instanceof OpenAI.AuthenticationError);
      assert.doesNotMatch(error.message, /sk-not-the-key/);
      return true;
    });
  });

  it("passes the provider's errors on", async () => {
    await assert.rejects(chat("echo/error-429"), OpenAI.RateLimitError);
    await assert.rejects(chat("echo/error-400"), OpenAI.BadRequestError);
    await assert.rejects(chat("echo/error-400", { stream: true }), OpenAI.BadRequestError);
  });

  it("asks for a model", async () => {
    await assert.rejects(keymux.post("/chat/completions", { body: { messages } }), (error) => {
      assert.ok(error instanceof OpenAI.BadRequestError);
      assert.match(error.message, /model/);
      return true;
    });
  });
});

// keymux in front of recorded.py, with answers that recorded.py makes.
describe("upstream", () => {
  async function expectLeft(model) {
    const deadline = performance.now() + 500;
    while (!(await seen(model))[0].left) {
      assert.ok(performance.now() < deadline, "the upstream was not freed within 0.5 s");
      await sleep(10);
    }
  }

  it("gets a long stream whole, under the provider's own key", async () => {
    const stream = async (client, model) =>
      all(await client.chat.completions.create({ model, messages, stream: true }));
    const model = `long-stream-${randomUUID()}`;
    const through = await stream(keymux, `recorded/${model}`);
    assert.equal(through.length, 2001);
    const [request] = await seen(model);
    assert.equal(request.headers.authorization, `Bearer ${RECORDED_KEY}`);
    assert.deepEqual(through, await stream(direct, model));
  });

  it("is freed when a stream is closed", async () => {
    const model = `slow-stream-${randomUUID()}`;
    const stream = await keymux.chat.completions.create({ model: `recorded/${model}`, messages, stream: true });
    let chunks = 0;
    for await (const _ of stream) if (++chunks === 3) break;
    await expectLeft(model);
  });

  it("is freed when a stream is aborted", async () => {
    const model = `slow-stream-${randomUUID()}`;
    const stream = await keymux.chat.completions.create({ model: `recorded/${model}`, messages, stream: true });
    const reading = all(stream).catch(() => {});
    await sleep(100);
    stream.controller.abort();
    await expectLeft(model);
    await reading;
  });

  it("is freed when the caller gives up", async () => {
    const model = `slow-whole-${randomUUID()}`;
    const request = { model: `recorded/${model}`, messages };
    await assert.rejects(keymux.chat.completions.create(request, { timeout: 500 }), OpenAI.APIConnectionTimeoutError);
    await expectLeft(model);
  });

  it("gets an upload whole", async () => {
    const sound = randomBytes(300_000);
    const model = `transcribe-${randomUUID()}`;
    const file = new File([sound], "speech.wav", { type: "audio/wav" });
    const answer = await keymux.audio.transcriptions.create({ model: `recorded/${model}`, file, language: "en" });
    assert.equal(answer.text, "300000 bytes");
    const [request] = await seen(model);
    assert.ok(Buffer.from(request.body, "base64").includes(sound));
  });

  it("sends speech back whole", async () => {
    const speak = async (client, model) => {
      const answer = await client.audio.speech.create({ model, voice: "alloy", input: sentence });
      return Buffer.from(await answer.arrayBuffer());
    };
    const through = await speak(keymux, "recorded/speech");
    assert.equal(through.length, 102_400);
    assert.ok(through.equals(await speak(direct, "speech")));
  });
});

// Through keymux the SDK sees what it sees without, and the provider gets the same bytes.
describe("recorded", () => {
  if (!KEYMUX_SHARED) {
    test("recordings", { skip: "KEYMUX_SHARED is not set" });
    return;
  }
  const read = (path) => JSON.parse(readFileSync(`${KEYMUX_SHARED}/fixtures/${path}`, "utf8"));
  const apis = {
    "openai.chat": (client) => client.chat.completions,
    "openai.completions": (client) => client.completions,
    "openai.embeddings": (client) => client.embeddings,
    "openai.responses": (client) => client.responses,
  };
  const entries = read("index.json")
    .map((entry, place) => ({ ...entry, place }))
    .filter((entry) => entry.api in apis);
  entries.sort((a, b) => (a.id < b.id ? -1 : 1));

  // Everything that a program sees of an exchange: objects, and the error that ends it.
  async function outcome(client, entry, body, model) {
    const found = [];
    const { stream: _, ...rest } = body ?? { messages };
    const request = { ...rest, model, ...(entry.stream ? { stream: true } : {}) };
    try {
      const answer = await apis[entry.api](client).create(request);
      if (!entry.stream) found.push(answer);
      else for await (const item of answer) found.push(item);
    } catch (error) {
      const { status, message, error: detail } = error;
      found.push({ failed: error.constructor.name, status, message, detail });
    }
    return JSON.parse(JSON.stringify(found));
  }

  for (const entry of entries) {
    // A refusal can take a key out of service for a while, so each has a provider of its own.
    const broken = entry.features.includes("error_in_stream");
    const provider = entry.status >= 400 || broken ? `refused-${entry.place}` : "recorded";
    it(entry.id, async () => {
      const { request } = read(`${entry.id}.json`);
      const without = await outcome(direct, entry, request.body, entry.id);
      const through = await outcome(keymux, entry, request.body, `${provider}/${entry.id}`);
      if (broken && "status" in through[0]) {
        // What fails before its first word has its real status: the key behind can be another one then.
        assert.equal(through.length, 1);
        assert.ok(JSON.stringify(without).includes(JSON.stringify(through[0].detail.message)));
      } else {
        assert.deepEqual(through, without);
      }
      const bodies = (await seen(entry.id)).map((request) => request.body);
      // After a provider's failure its only key is asked once more.
      assert.equal(bodies.length, entry.status >= 500 ? 3 : 2);
      assert.equal(bodies[0], bodies[1]);
    });
  }
});
