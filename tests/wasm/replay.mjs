// SPDX-License-Identifier: BSD-3-Clause
// node replay.mjs MODULE FOLDER ROUNDS: make the kernel calls that record.py has recorded in FOLDER
// with a WebAssembly module, and compare every byte and every result.
//
// The output is JSON: what differs, the CPU milliseconds of every call (the least of ROUNDS), those
// that it took to compile the module, and the bytes of its memory at the end.
import { openSync, readFileSync, readSync } from 'node:fs';

const PAGE = 65536;
const ALIGNMENT = 64;
const [path, folder, rounds] = process.argv.slice(2);

const start = cpuTime();
const module = new WebAssembly.Module(readFileSync(path));
const compilation = cpuTime() - start;
const library = new WebAssembly.Instance(module).exports; // fails if it imports anything
const contents = openSync(`${folder}/contents`);

function cpuTime() {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

function read(target, position) {
  for (let done = 0; done < target.length; ) {
    const n = readSync(contents, target, done, target.length - done, position + done);
    if (n === 0) throw new Error('the recording is cut');
    done += n;
  }
}

/** Give addresses in the module's memory for pieces of the given sizes, one after the other. */
function place(sizes) {
  let end = library.__heap_base.value;
  const addresses = sizes.map((size) => {
    const address = Math.ceil(end / ALIGNMENT) * ALIGNMENT;
    end = address + size;
    return address;
  });
  const missing = end - library.memory.buffer.byteLength;
  if (missing > 0) library.memory.grow(Math.ceil(missing / PAGE));
  return addresses;
}

function bytes(address, size) {
  return new Uint8Array(library.memory.buffer, address, size);
}

function fill(call, slots, pieces) {
  let position = call.offset;
  call.sizes.forEach((size, i) => {
    read(bytes(pieces[i], size), position);
    position += size;
  });
  const numbers = new DataView(library.memory.buffer, slots);
  call.slots.forEach((number, i) => numbers.setBigInt64(8 * i, BigInt(number), true));
  for (const [slot, piece, offset] of call.pointers)
    numbers.setBigInt64(8 * slot, BigInt(pieces[piece] + offset), true);
}

/** Tell what differs from the recording after a call. */
function* compare(call, slots, pieces) {
  let position = call.offset + call.sizes.reduce((sum, size) => sum + size, 0);
  for (const [i, size] of call.sizes.entries()) {
    const expected = Buffer.allocUnsafe(size);
    read(expected, position);
    if (expected.compare(bytes(pieces[i], size))) yield `piece ${i} of ${size} bytes`;
    position += size;
  }
  const numbers = new DataView(library.memory.buffer, slots);
  const first = call.slots.length - call.results.length;
  for (const [i, expected] of call.results.entries()) {
    const found = numbers.getBigInt64(8 * (first + i), true);
    if (found !== BigInt(expected)) yield `result ${i} is ${found}, not ${expected}`;
  }
}

const differences = [];
const ms = [];
for (const line of readFileSync(`${folder}/calls`, 'utf8').trimEnd().split('\n')) {
  const call = JSON.parse(line);
  const [slots, ...pieces] = place([8 * call.slots.length, ...call.sizes]);
  const times = [];
  for (let round = 0; round < rounds; round++) {
    fill(call, slots, pieces);
    const start = cpuTime();
    library[call.symbol](slots);
    times.push(cpuTime() - start);
  }
  for (const difference of compare(call, slots, pieces))
    differences.push(`call ${ms.length}, ${call.symbol}: ${difference}`);
  ms.push(Math.min(...times));
}
const memory = library.memory.buffer.byteLength;
console.log(JSON.stringify({ differences, ms, compilation, memory }));
