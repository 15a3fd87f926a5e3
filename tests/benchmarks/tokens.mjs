// Counts the tokens of texts, an array on standard input: for each its tokens in o200k_base and in cl100k_base.
import { countTokens as cl100k } from "gpt-tokenizer/encoding/cl100k_base";
import { countTokens as o200k } from "gpt-tokenizer/encoding/o200k_base";

const parts = [];
for await (const part of process.stdin) parts.push(part);
const texts = JSON.parse(Buffer.concat(parts).toString());
console.log(JSON.stringify(texts.map((text) => [o200k(text), cl100k(text)])));
