// Talks to the proxy with @anthropic-ai/sdk and prints one JSON object with what it saw; the test judges.
// Usage: node sdk.mjs BASE_URL FOLDER_OF_PACKAGE_JSON
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [baseURL, home] = process.argv.slice(2);
const entry = createRequire(join(home, "package.json")).resolve("@anthropic-ai/sdk");
const { default: Anthropic, ...rest } = await import(pathToFileURL(entry));
const SDK = Anthropic.default ?? Anthropic;
const client = new SDK({ baseURL, apiKey: "test", maxRetries: 0 });
const base = { model: "claude-sonnet-5-5", max_tokens: 4096 };
const tools = [
  { name: "get_weather", input_schema: { type: "object", properties: { city: { type: "string" } }, required: ["city"] } },
  { name: "get_time", input_schema: { type: "object", properties: {} } },
];
const user = (content) => ({ role: "user", content });
const streamed = (body) => client.messages.stream({ ...base, ...body }).finalMessage();
const seen = {};

seen.created = await client.messages.create({ ...base, messages: [user("Hello there")] });

const stream = client.messages.stream({ ...base, messages: [user("[demo:long n=20]")] });
let pieces = 0;
let text = "";
stream.on("text", (piece) => { pieces += 1; text += piece; });
seen.streamed = { message: await stream.finalMessage(), pieces, text };

seen.thinking = await streamed({ thinking: { type: "enabled", budget_tokens: 2048 }, messages: [user("[demo:think]")] });

seen.loop = [];
const messages = [user("[demo:tools city=Paris turns=3]")];
for (;;) {
  const message = await streamed({ tools, messages });
  seen.loop.push(message);
  const calls = message.content.filter((block) => block.type === "tool_use");
  if (calls.length === 0 || seen.loop.length > 5) break;
  messages.push({ role: "assistant", content: message.content });
  messages.push(user(calls.map((call) => ({ type: "tool_result", tool_use_id: call.id, content: `did ${call.name}` }))));
}

const failure = async (prompt) => {
  try {
    await streamed({ messages: [user(prompt)] });
    return null;
  } catch (error) {
    return { name: error.constructor.name, status: error.status ?? null, type: error.error?.error?.type ?? null, id: error.requestID ?? null };
  }
};
seen.limited = await failure("[demo:error status=429]");
seen.broken = await failure("[demo:error-midstream pace=0.02]");

const left = client.messages.stream({ ...base, messages: [user("[demo:long n=500 pace=0.02]")] });
left.on("error", () => {});
await new Promise((resolve) => left.once("text", resolve));
left.abort();
seen.aborted = await left.done().then(() => "ended", (error) => error.constructor.name);

process.stdout.write(JSON.stringify(seen));
