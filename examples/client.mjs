// Put a value and read it back, in JavaScript with Node.js: node client.mjs [HOST:PORT]
import { createHash } from "node:crypto";
import { connect } from "node:net";

const [PUT, GET, SUCCESS] = [650, 651, 652];

// A message opens with its size, itself included, and its type.
function message(kind, ...body) {
  const raw = Buffer.concat([Buffer.alloc(4), ...body.map((part) => Buffer.from(part))]);
  raw.writeUInt16BE(raw.length, 0);
  raw.writeUInt16BE(kind, 2);
  return raw;
}

const [host, port] = (process.argv[2] ?? "127.0.0.1:7401").split(":");
const api = connect(Number(port), host);
const key = createHash("sha256").update("from javascript").digest();
const life = [600 >> 8, 600 & 255, 0, 0]; // seconds; as many copies as usual; reserved
api.write(message(PUT, life, key, "good morning"));
api.write(message(GET, key));
let read = Buffer.alloc(0);
for await (const piece of api) {
  read = Buffer.concat([read, piece]);
  if (read.length >= 4 && read.length >= read.readUInt16BE(0)) break;
}
// The answer has the key, and the value if there is one.
console.log(read.readUInt16BE(2) === SUCCESS ? read.subarray(36).toString() : "nothing");
