// One bag as npm packages read it, as JSON lines: `node read.mjs NODE_FOLDER BAG_FOLDER`.
// NODE_FOLDER holds node_modules; BAG_FOLDER holds metadata.yaml and the MCAP that it names.
// Whole numbers beyond 2^53, times among them, are written as text.
import { createHash } from 'node:crypto';
import { open, readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';

const [nodeFolder, bagFolder] = process.argv.slice(2);
const require = createRequire(join(resolve(nodeFolder), 'package.json'));
const { McapIndexedReader } = require('@mcap/core');
const { FileHandleReadable } = require('@mcap/nodejs');
const { parse: parseDefinition } = require('@foxglove/rosmsg');
const { MessageReader, MessageWriter } = require('@foxglove/rosmsg2-serialization');
const lz4 = require('@foxglove/wasm-lz4');
const zstd = require('@foxglove/wasm-zstd');
const yaml = require('yaml');

const SHOWN_BYTES = 4096; // larger messages are decoded too, but not printed

const sha256 = (data) => createHash('sha256').update(data).digest('hex');
const print = (kind, content) => process.stdout.write(JSON.stringify({ kind, ...content }) + '\n');

/** A decoded message as JSON can carry it: arrays for typed arrays, text for what is no number. */
function plain(value) {
  if (typeof value === 'bigint') return value.toString();
  if (typeof value === 'number') return Number.isFinite(value) ? value : String(value);
  if (Array.isArray(value) || ArrayBuffer.isView(value)) return Array.from(value, plain);
  if (value !== null && typeof value === 'object') {
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, plain(each)]));
  }
  return value;
}

/** Decoder and encoder of a channel by the definition in the bag; undefined where it has none. */
function codec(schema) {
  if (schema.encoding !== 'ros2msg') return undefined;
  const parsed = parseDefinition(new TextDecoder().decode(schema.data), { ros2: true });
  return { reader: new MessageReader(parsed), writer: new MessageWriter(parsed) };
}

await Promise.all([lz4.isLoaded, zstd.isLoaded]);
const decompressHandlers = {
  lz4: (buffer, size) => lz4(buffer, Number(size)),
  zstd: (buffer, size) => zstd.decompress(buffer, Number(size)),
};

const text = await readFile(join(bagFolder, 'metadata.yaml'), 'utf8');
const metadata = yaml.parse(text, { intAsBigInt: true, strict: true });
print('metadata', { content: plain(metadata) });

const [path] = metadata.rosbag2_bagfile_information.relative_file_paths;
const handle = await open(join(bagFolder, path), 'r');
const bag = await McapIndexedReader.Initialize({
  readable: new FileHandleReadable(handle), decompressHandlers });
print('header', bag.header);

const codecs = new Map();
for (const channel of bag.channelsById.values()) {
  const schema = bag.schemasById.get(channel.schemaId);
  codecs.set(channel.id, codec(schema));
  print('channel', {
    topic: channel.topic, messageEncoding: channel.messageEncoding, schema: schema.name,
    schemaEncoding: schema.encoding, schemaSha256: sha256(schema.data),
    metadata: Object.fromEntries(channel.metadata),
    offers: yaml.parse(channel.metadata.get('offered_qos_profiles')),
    messages: Number(bag.statistics.channelMessageCounts.get(channel.id) ?? 0n),
  });
}

for await (const message of bag.readMessages({ validateCrcs: true })) {
  const { reader, writer } = codecs.get(message.channelId) ?? {};
  const decoded = reader?.readMessage(message.data);
  const encoded = decoded && writer.writeMessage(decoded);
  print('message', {
    topic: bag.channelsById.get(message.channelId).topic, sequence: message.sequence,
    log: message.logTime.toString(), publish: message.publishTime.toString(),
    bytes: message.data.byteLength, sha256: sha256(message.data),
    encodedSha256: encoded && sha256(encoded),
    decoded: message.data.byteLength <= SHOWN_BYTES ? plain(decoded) : undefined,
  });
}
print('end', { messages: bag.statistics.messageCount.toString() });
await handle.close();
