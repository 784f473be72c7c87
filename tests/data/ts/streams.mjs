// Reads event streams with @anthropic-ai/sdk's MessageStream and prints what it makes of each; the test judges.
// Usage: node streams.mjs FOLDER_OF_PACKAGE_JSON < JSON list of bodies, in base64
import { createRequire } from "node:module";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { pathToFileURL } from "node:url";

const [home] = process.argv.slice(2);
const entry = createRequire(join(home, "package.json")).resolve("@anthropic-ai/sdk");
const { default: Anthropic } = await import(pathToFileURL(entry));
const SDK = Anthropic.default ?? Anthropic;
const bodies = JSON.parse(await text(process.stdin)).map((body) => Buffer.from(body, "base64"));

const read = async (body) => {
  const fetch = async () => new Response(body, { headers: { "content-type": "text/event-stream", "request-id": "req_X" } });
  const client = new SDK({ baseURL: "http://test.invalid", apiKey: "test", maxRetries: 0, fetch });
  const stream = client.messages.stream({ model: "m", max_tokens: 9, messages: [{ role: "user", content: "x" }] });
  try {
    return { message: await stream.finalMessage() };
  } catch (error) {
    return { name: error.constructor.name, api: error instanceof SDK.APIError, type: error.error?.error?.type ?? null, text: String(error) };
  }
};

const seen = [];
for (const body of bodies) seen.push(await read(body));
process.stdout.write(JSON.stringify(seen));
