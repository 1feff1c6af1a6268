// One client that follows a pair: it subscribes at whichever endpoint is open, and when that closes
// it goes to the other. Usage: follower.js ENDPOINT,ENDPOINT NODES_FILE PUBLISHING_MS
// Each line on standard input is answered by what came since the last one: values and their age
// (time of receipt - SourceTimestamp, first values of a subscription left out), and how often and
// for how long nothing was there: from the last value of the one endpoint to the first that is
// newer, of the other.
"use strict";
const fs = require("fs");
const readline = require("readline");
const { AttributeIds, ClientMonitoredItemGroup, TimestampsToReturn } = require("node-opcua");
const { connect, say, run } = require("./opcua_party.js");

const ITEMS_PER_CALL = 1000;
const RETRY_MS = 50;
let ages = [];
let bad = 0;
let initial = 0;
let switches = [];
let lastValue = 0;
let since = 0;

function changed(item, dataValue) {
    const now = Date.now();
    if (dataValue.statusCode.value & 0x80000000) bad += 1;
    const source = dataValue.sourceTimestamp ? dataValue.sourceTimestamp.getTime() : 0;
    if (source < since) return;
    if (lastValue && lastValue < since) switches.push(now - lastValue);
    lastValue = now;
    ages.push(now - source);
}

function report() {
    const sorted = Float64Array.from(ages).sort();
    const at = (share) => sorted.length
        ? sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] : null;
    const found = { values: sorted.length, age_p50_ms: at(0.5), age_p95_ms: at(0.95), bad, switches };
    ages = [];
    bad = 0;
    switches = [];
    return found;
}

// Until the connection ends or the endpoint closes; throws when it can't be used.
async function follow(endpoint, nodes, publishingMs) {
    const { client, session } = await connect(endpoint, {
        connectionStrategy: { maxRetry: 0, initialDelay: 50, maxDelay: 100 },
        keepSessionAlive: false,
        transportTimeout: 5000,
    });
    const ended = new Promise((resolve) => {
        for (const event of ["connection_lost", "backoff", "close", "abort"]) client.on(event, resolve);
        session.on("session_closed", resolve);
    });
    since = Date.now();
    try {
        const subscription = await session.createSubscription2({
            requestedPublishingInterval: publishingMs, requestedLifetimeCount: 600,
            requestedMaxKeepAliveCount: 4, maxNotificationsPerPublish: 0, publishingEnabled: true,
            priority: 1,
        });
        let silent;
        const gone = new Promise((resolve) => {  // a frozen node closes nothing
            const heard = () => { clearTimeout(silent); silent = setTimeout(resolve, 3000); };
            for (const event of ["keepalive", "raw_notification"]) subscription.on(event, heard);
            subscription.on("terminated", resolve);
            heard();
        });
        for (let at = 0; at < nodes.length; at += ITEMS_PER_CALL) {
            const items = nodes.slice(at, at + ITEMS_PER_CALL)
                .map((nodeId) => ({ nodeId, attributeId: AttributeIds.Value }));
            const group = ClientMonitoredItemGroup.create(subscription, items,
                { samplingInterval: publishingMs, discardOldest: true, queueSize: 2 },
                TimestampsToReturn.Both);
            group.on("changed", changed);
            await Promise.race([ended, gone, new Promise((resolve, reject) => {
                group.on("initialized", resolve);
                group.on("err", (text) => reject(new Error(text)));
            })]);
        }
        if (!initial) say({ monitored: nodes.length });
        initial = nodes.length;
        await Promise.race([ended, gone]);
        clearTimeout(silent);
    } finally {
        await Promise.race([client.disconnect().catch(() => undefined), pause(500)]);
    }
}

function pause(ms) {
    return new Promise((resolve) => setTimeout(resolve, ms));
}

run(async () => {
    const [endpoints, nodesFile, publishingMs] = process.argv.slice(2);
    const nodes = fs.readFileSync(nodesFile, "utf8").split("\n").filter((line) => line);
    readline.createInterface({ input: process.stdin }).on("line", () => say(report()));
    process.on("SIGTERM", () => process.exit(0));
    for (;;) {
        for (const endpoint of endpoints.split(",")) {
            try {
                await follow(endpoint, nodes, Number(publishingMs));
            } catch (error) {
                process.stderr.write(`${new Date().toISOString()} ${endpoint}: ${error.message}\n`);
            }
            await pause(RETRY_MS);
        }
    }
});
