// One subscriber on all nodes. Usage: subscriber.js ENDPOINT NODES_FILE PUBLISHING_MS
// Each line on standard input is answered by what came since the last one: values, their age
// (time of receipt - SourceTimestamp, both by the clock of this machine) and what was wrong.
"use strict";
const fs = require("fs");
const readline = require("readline");
const { AttributeIds, ClientMonitoredItemGroup, ClientSubscription, TimestampsToReturn } =
    require("node-opcua");
const { connect, say, run } = require("./opcua_party.js");

const ITEMS_PER_CALL = 1000;
let ages = [];
let bad = 0;
let untimed = 0;
let initial = 0;

function changed(item, dataValue) {
    if (dataValue.statusCode.value & 0x80000000) bad += 1;
    if (!dataValue.sourceTimestamp) untimed += 1;
    else ages.push(Date.now() - dataValue.sourceTimestamp.getTime());
}

function report() {
    const sorted = Float64Array.from(ages).sort();
    const at = (share) => sorted.length
        ? sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] : null;
    const found = { values: sorted.length, age_p50_ms: at(0.5), age_p95_ms: at(0.95),
        age_max_ms: at(1), bad, untimed };
    ages = [];
    bad = 0;
    untimed = 0;
    return found;
}

run(async () => {
    const [endpoint, nodesFile, publishingMs] = process.argv.slice(2);
    const nodes = fs.readFileSync(nodesFile, "utf8").split("\n").filter((line) => line);
    const { session } = await connect(endpoint);
    const subscription = await session.createSubscription2({
        requestedPublishingInterval: Number(publishingMs), requestedLifetimeCount: 600,
        requestedMaxKeepAliveCount: 20, maxNotificationsPerPublish: 0, publishingEnabled: true,
        priority: 1,
    });
    for (let at = 0; at < nodes.length; at += ITEMS_PER_CALL) {
        const items = nodes.slice(at, at + ITEMS_PER_CALL)
            .map((nodeId) => ({ nodeId, attributeId: AttributeIds.Value }));
        const group = ClientMonitoredItemGroup.create(subscription, items,
            { samplingInterval: Number(publishingMs), discardOldest: true, queueSize: 2 },
            TimestampsToReturn.Both);
        group.on("changed", changed);
        await new Promise((resolve, reject) => {
            group.on("initialized", resolve);
            group.on("err", (text) => reject(new Error(text)));
        });
        initial += items.length;
    }
    readline.createInterface({ input: process.stdin }).on("line", () => say(report()));
    process.on("SIGTERM", () => process.exit(0));
    say({ monitored: initial });
});
