// A nodemailer pool sending N mails over C connections, as its documentation advises: https://nodemailer.com/smtp/pooled
// --mode compose: subject, HTML and text filled in per recipient, and composed by nodemailer. --mode raw: the same prebuilt bytes each time.
import { parseArgs } from "node:util";
import nodemailer from "nodemailer";

const { values } = parseArgs({
  options: {
    host: { type: "string", default: "127.0.0.1" },
    port: { type: "string" },
    messages: { type: "string", default: "5000" },
    connections: { type: "string", default: "8" },
    size: { type: "string", default: "5000" },
    mode: { type: "string", default: "compose" },
  },
});
const [port, messages, connections, size] = [values.port, values.messages, values.connections, values.size].map(Number);
if (![port, messages, connections, size].every((number) => Number.isInteger(number) && number > 0) || !["compose", "raw"].includes(values.mode)) {
  console.error("--port, --messages, --connections and --size are whole numbers; --mode is compose or raw");
  process.exit(2);
}

const paragraph = "<p>The quick brown fox jumps over the lazy dog, and goes on to the next line of it.</p>\n";
const filler = paragraph.repeat(Math.max(1, Math.floor((size - 900) / (2 * paragraph.length))));
const links = [0, 1, 2].map((index) => `<a href="https://t.example.org/l/{{ token }}/${index}">Offer ${index}</a>`).join(" ");
const pixel = '<img src="https://t.example.org/o/{{ token }}" width="1" height="1" alt="">';
const html = `<html><body><p>Dear {{ first_name }} {{ last_name }},</p>${filler}<p>${links} {{ email }}</p>${pixel}</body></html>`;
const text = html.replace(/<a href="([^"]*)">([^<]*)<\/a>/g, "$2 ($1)").replace(/<[^>]*>/g, "");
const fill = (template, contact) => template.replace(/\{\{ (\w+) \}\}/g, (_, name) => contact[name]);

const head = "From: bench@example.org\r\nTo: someone@example.net\r\nSubject: bench\r\nMessage-ID: <1@example.org>\r\n\r\n";
const line = "The quick brown fox jumps over the lazy dog, and goes on to the next line.\r\n";
const raw = Buffer.from(head + line.repeat(Math.max(1, Math.floor((size - head.length) / line.length))));

function mail(number) {
  if (values.mode === "raw") {
    return { envelope: { from: "bench@example.org", to: ["someone@example.net"] }, raw };
  }
  const contact = { first_name: `Ann${number}`, last_name: "Lee", email: `person${number}@example.net`, token: `${number}.k3J9sLq0Zx` };
  return {
    from: { name: "Bench", address: "news@example.org" },
    to: contact.email,
    subject: fill("News for {{ first_name }}", contact),
    html: fill(html, contact),
    text: fill(text, contact),
    messageId: `<${number}.k3J9sLq0Zx@example.org>`,
    headers: {
      "List-Unsubscribe": fill("<https://t.example.org/u/{{ token }}>", contact),
      "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    },
  };
}

const pool = nodemailer.createTransport({
  pool: true,
  host: values.host,
  port,
  secure: false,
  ignoreTLS: true,
  maxConnections: connections,
  maxMessages: Infinity,
});

let next = 0;
async function lane() {
  while (next < messages) {
    await pool.sendMail(mail(next++));
  }
}

const began = process.hrtime.bigint();
const before = process.cpuUsage();
// More lanes than connections, so that no connection ever waits for the next mail.
await Promise.all(Array.from({ length: connections * 4 }, lane));
const spent = process.cpuUsage(before);
const seconds = Number(process.hrtime.bigint() - began) / 1e9;
pool.close();
console.log(JSON.stringify({ seconds, messages, cpu_seconds: (spent.user + spent.system) / 1e6 }));
