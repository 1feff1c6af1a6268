// What the scripts share: a node-opcua client that keeps its keys in the folder it is started in.
// Where a visitor.json lies there (hil/visitor.py), it signs, encrypts and logs in by it.
"use strict";
const fs = require("fs");
const path = require("path");
const { OPCUAClient, OPCUACertificateManager, MessageSecurityMode, SecurityPolicy, UserTokenType } =
    require("node-opcua");

function visitor() {
    const file = path.join(process.cwd(), "visitor.json");
    if (!fs.existsSync(file)) return { options: {}, user: undefined };
    const { certificate, key, uri, user, password } = JSON.parse(fs.readFileSync(file, "utf8"));
    return {
        options: {
            securityMode: MessageSecurityMode.SignAndEncrypt,
            securityPolicy: SecurityPolicy.Basic256Sha256,
            applicationUri: uri, certificateFile: certificate, privateKeyFile: key,
        },
        user: { type: UserTokenType.UserName, userName: user, password },
    };
}

async function connect(endpoint, options = {}, user = undefined) {
    const visits = visitor();
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
        ...visits.options,
        ...options,
    });
    await client.connect(endpoint);
    const session = await client.createSession(user ?? visits.user);
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
