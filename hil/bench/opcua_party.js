// What the scripts share: a node-opcua client that keeps its keys in the folder it is started in.
"use strict";
const path = require("path");
const { OPCUAClient, OPCUACertificateManager, MessageSecurityMode, SecurityPolicy } =
    require("node-opcua");

async function connect(endpoint, options = {}, user = undefined) {
    const client = OPCUAClient.create({
        applicationName: "bench",
        clientCertificateManager: new OPCUACertificateManager({
            rootFolder: path.join(process.cwd(), "home", "pki"),
            automaticallyAcceptUnknownCertificate: true,
        }),
        endpointMustExist: false,
        securityMode: MessageSecurityMode.None,
        securityPolicy: SecurityPolicy.None,
        connectionStrategy: { maxRetry: 3, initialDelay: 200, maxDelay: 1000 },
        requestedSessionTimeout: 60000,
        ...options,
    });
    await client.connect(endpoint);
    const session = await client.createSession(user);
    return { client, session };
}

function say(object) {
    process.stdout.write(JSON.stringify(object) + "\n");
}

function run(main) {
    main().catch((error) => {
        process.stderr.write(String((error && error.stack) || error) + "\n");
        process.exit(1);
    });
}

module.exports = { connect, say, run };
