// A PLC by node-opcua. Usage: opcua_plc.js PORT PKI_FOLDER
"use strict";
const path = require("path");
const { DataType, MessageSecurityMode, OPCUACertificateManager, OPCUAServer, SecurityPolicy,
    StatusCodes, Variant, VariantArrayType } = require("node-opcua");

async function main() {
    const port = Number(process.argv[2]);
    const certificates = new OPCUACertificateManager({
        rootFolder: path.join(process.argv[3], "plc"),
        automaticallyAcceptUnknownCertificate: true,
    });
    const server = new OPCUAServer({
        port, host: "127.0.0.1", hostname: "127.0.0.1", allowAnonymous: true,
        serverCertificateManager: certificates, userCertificateManager: certificates,
        securityPolicies: [SecurityPolicy.None, SecurityPolicy.Basic256Sha256],
        securityModes: [MessageSecurityMode.None, MessageSecurityMode.SignAndEncrypt],
        userManager: { isValidUser: (user, password) => user === "gw" && password === "secret" },
        serverInfo: { applicationUri: "urn:third:plc:app" },
    });
    await server.initialize();
    const space = server.engine.addressSpace;
    const own = space.registerNamespace("urn:third:plc");
    const device = own.addObject({ organizedBy: space.rootFolder.objects, browseName: "PLC" });
    const add = (name, dataType, value, more = {}) => own.addVariable({
        componentOf: device, browseName: name, nodeId: `s=${name}`, dataType,
        value: { dataType, value }, ...more,
    });
    const flow = add("Flow", DataType.Double, 0);
    const count = add("Count", DataType.UInt32, 0);
    const moment = add("Moment", DataType.DateTime, new Date());
    const faulty = add("Faulty", DataType.Double, 0);
    add("Name", DataType.String, "third");
    add("Running", DataType.Boolean, false,
        { accessLevel: "CurrentRead | CurrentWrite", userAccessLevel: "CurrentRead | CurrentWrite" });
    add("Setpoint", DataType.Float, 1.5,
        { accessLevel: "CurrentRead | CurrentWrite", userAccessLevel: "CurrentRead | CurrentWrite" });
    own.addVariable({
        componentOf: device, browseName: "Levels", nodeId: "s=Levels", dataType: DataType.Double,
        valueRank: 1, arrayDimensions: [3],
        value: new Variant({ dataType: DataType.Double, arrayType: VariantArrayType.Array,
            value: Float64Array.from([1, 2, 3]) }),
    });
    faulty.setValueFromSource({ dataType: DataType.Double, value: 0 },
        StatusCodes.BadSensorFailure);
    for (const node of [flow, count]) space.installHistoricalDataNode(node, { maxOnlineValues: 500 });
    let number = 0;
    setInterval(() => {
        number += 1;
        flow.setValueFromSource({ dataType: DataType.Double, value: number / 8 });
        count.setValueFromSource({ dataType: DataType.UInt32, value: number });
        moment.setValueFromSource({ dataType: DataType.DateTime, value: new Date() });
    }, 100);
    await server.start();
    process.stdout.write(JSON.stringify({ port }) + "\n");
    process.on("SIGTERM", () => process.exit(0));
}

main().catch((error) => {
    process.stderr.write(String(error.stack) + "\n");
    process.exit(1);
});
