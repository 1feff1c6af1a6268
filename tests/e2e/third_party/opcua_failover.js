// A node-opcua client of a redundant set. Usage: opcua_failover.js ENDPOINT POINT
// It knows one endpoint; the others it finds by ServerUriArray and FindServers. It watches POINT at
// the server whose ServiceLevel is healthy, and moves when that drops or the connection ends.
// Prints JSON lines: {set}, {watching}, {left}, {value}.
"use strict";
const opcua = require("node-opcua");

const [, , first, point] = process.argv;
const HEALTHY = 200;
const LOOK_AGAIN_MS = 100;
const say = (found) => process.stdout.write(JSON.stringify(found) + "\n");
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const value = async (session, nodeId) => (await session.read({ nodeId,
    attributeId: opcua.AttributeIds.Value })).value.value;

async function open(endpoint) {
    const client = opcua.OPCUAClient.create({ endpointMustExist: false, keepSessionAlive: false,
        connectionStrategy: { maxRetry: 0, initialDelay: 100, maxDelay: 100 } });
    await client.connect(endpoint);
    return { client, session: await client.createSession() };
}

async function discover() {
    const { client, session } = await open(first);
    const support = await value(session, "i=3709");
    const uris = Array.from(await value(session, "i=11314"));
    const { servers } = await new Promise((resolve, reject) => client.performMessageTransaction(
        new opcua.FindServersRequest({ endpointUrl: first }),
        (error, response) => (error ? reject(error) : resolve(response))));
    const urls = uris.map((uri) => servers.find((s) => s.applicationUri === uri).discoveryUrls[0]);
    say({ set: { support, uris, urls } });
    await session.close();
    await client.disconnect();
    return urls;
}

async function watch(endpoint) {
    const { client, session } = await open(endpoint);
    const level = await value(session, "i=2267");
    if (level < HEALTHY) return client.disconnect();
    say({ watching: { endpoint, level } });
    await new Promise((resolve) => {
        let gone = false;
        const leave = (why) => {
            if (!gone) say({ left: { endpoint, why } });
            gone = true;
            resolve();
        };
        client.once("connection_lost", () => leave("connection"));
        client.once("close", () => leave("connection"));
        const subscription = opcua.ClientSubscription.create(session, {
            requestedPublishingInterval: 100, requestedLifetimeCount: 100,
            requestedMaxKeepAliveCount: 10, publishingEnabled: true });
        const monitor = (nodeId, heard) => opcua.ClientMonitoredItem.create(subscription,
            { nodeId, attributeId: opcua.AttributeIds.Value },
            { samplingInterval: 50, queueSize: 1 }).on("changed", heard);
        monitor("i=2267", ({ value: { value: now } }) => {
            if (now < HEALTHY) leave(`level ${now}`);
        });
        monitor(point, (found) => say({ value: { endpoint, value: found.value.value,
            status: found.statusCode.name } }));
    });
    client.disconnect().catch(() => {});
}

async function main() {
    const urls = await discover();
    for (let turn = 0; ; turn++) {
        await watch(urls[turn % urls.length]).catch(() => {});
        await pause(LOOK_AGAIN_MS);
    }
}

main().catch((error) => { say({ error: String(error.message) }); process.exit(1); });
