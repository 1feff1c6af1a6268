// An outstation by jsmodbus. Usage: jsmodbus_server.js PORT. Its map: see rig.py.
"use strict";
const net = require("net");
const { server: modbus } = require("jsmodbus");

const door = new net.Server();
const memory = {
    coils: Buffer.alloc(2), discrete: Buffer.alloc(2),
    holding: Buffer.alloc(600), input: Buffer.alloc(32),
};
memory.holding.writeFloatBE(12.5, 2);
memory.holding.writeUInt16BE(7, 20);
for (let i = 100; i < 225; i += 1) memory.holding.writeUInt16BE(i, 2 * i);
memory.input.writeUInt16BE(4242, 0);
memory.input.writeInt16BE(-7, 2);
memory.coils[1] = 1 << 1;
memory.discrete[0] = 1 << 3;

new modbus.TCP(door, memory);
const began = Date.now();
setInterval(() => {
    memory.holding.writeUInt16BE(Math.floor((Date.now() - began) / 100) & 0xffff, 0);
}, 50);
const port = Number(process.argv[2]);
door.listen(port, "127.0.0.1", () => process.stdout.write(JSON.stringify({ port }) + "\n"));
process.on("SIGTERM", () => process.exit(0));
