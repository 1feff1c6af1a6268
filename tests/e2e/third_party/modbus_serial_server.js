// An outstation by modbus-serial. Usage: modbus_serial_server.js PORT. Its map: see rig.py.
"use strict";
const { ServerTCP } = require("modbus-serial");

const began = Date.now();
const holding = new Map([[1, 0x4148], [2, 0], [10, 7]]);
for (let i = 100; i < 225; i += 1) holding.set(i, i);
const coils = new Map([[9, true]]);
const port = Number(process.argv[2]);
const vector = {
    getHoldingRegister: (address) => (address === 0
        ? Math.floor((Date.now() - began) / 100) & 0xffff : holding.get(address) || 0),
    getInputRegister: (address) => (address === 0 ? 4242 : address === 1 ? 0xfff9 : 0),
    getCoil: (address) => coils.get(address) || false,
    getDiscreteInput: (address) => address === 3,
    setRegister: (address, value) => { holding.set(address, value); },
    setCoil: (address, value) => { coils.set(address, Boolean(value)); },
};
const server = new ServerTCP(vector, { host: "127.0.0.1", port, unitID: 1, debug: false });
server.on("initialized", () => process.stdout.write(JSON.stringify({ port }) + "\n"));
server.on("socketError", () => undefined);
process.on("SIGTERM", () => process.exit(0));
