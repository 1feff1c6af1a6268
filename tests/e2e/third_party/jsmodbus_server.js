// An outstation by jsmodbus. Usage: jsmodbus_server.js PORT [FOLDER]. Its map: see rig.py.
// With a folder (plc.key, plc.crt, ca.crt) it speaks TLS and wants a certificate of its clients.
"use strict";
const fs = require("fs");
const net = require("net");
const path = require("path");
const tls = require("tls");
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
const [port, folder] = [Number(process.argv[2]), process.argv[3]];
const ready = () => process.stdout.write(JSON.stringify({ port }) + "\n");
if (folder) {
    const file = (name) => fs.readFileSync(path.join(folder, name));
    door.listen(0, "127.0.0.1", () => {
        const options = { key: file("plc.key"), cert: file("plc.crt"), ca: file("ca.crt"),
            requestCert: true, rejectUnauthorized: true };
        tls.createServer(options, (secure) => {
            const plain = net.connect(door.address().port, "127.0.0.1");
            secure.pipe(plain).pipe(secure);
            secure.on("error", () => plain.destroy());
            plain.on("error", () => secure.destroy());
        }).listen(port, "127.0.0.1", ready);
    });
} else {
    door.listen(port, "127.0.0.1", ready);
}
process.on("SIGTERM", () => process.exit(0));
