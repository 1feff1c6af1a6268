// A client by node-opcua. Usage: opcua_client.js TASKS_FILE PKI_FOLDER
// Each task is a session of its own; what they found is one JSON object, in their order.
"use strict";
const fs = require("fs");
const path = require("path");
const opcua = require("node-opcua");

const PAGES_MAX = 1000;
const tasks = JSON.parse(fs.readFileSync(process.argv[2], "utf8"));

async function connect(task) {
    const client = opcua.OPCUAClient.create({
        applicationName: "third party", endpointMustExist: false,
        clientCertificateManager: new opcua.OPCUACertificateManager({
            rootFolder: path.join(process.argv[3], "client"),
            automaticallyAcceptUnknownCertificate: true,
        }),
        securityMode: opcua.MessageSecurityMode[task.mode || "None"],
        securityPolicy: opcua.SecurityPolicy[task.policy || "None"],
        connectionStrategy: { maxRetry: 1, initialDelay: 100, maxDelay: 200 },
    });
    await client.connect(task.endpoint);
    const user = task.user ? { type: opcua.UserTokenType.UserName, userName: task.user,
        password: task.password } : { type: opcua.UserTokenType.Anonymous };
    return { client, session: await client.createSession(user) };
}

function plain(value) {
    return { value: value.value.value, type: opcua.DataType[value.value.dataType],
        status: value.statusCode.name, source: value.sourceTimestamp,
        server: value.serverTimestamp };
}

async function browse(session, nodeId) {
    const found = {};
    const result = await session.browse({ nodeId, resultMask: 63, nodeClassMask: 0,
        referenceTypeId: "HierarchicalReferences", includeSubtypes: true,
        browseDirection: opcua.BrowseDirection.Forward });
    for (const reference of result.references || [])
        found[reference.browseName.name] = reference.nodeId.toString();
    return found;
}

async function walk(session, task) {
    let nodeId = "ns=0;i=85";
    let found = await browse(session, nodeId);
    for (const name of task.path) {
        nodeId = found[name];
        if (!nodeId) return { missing: name, beside: Object.keys(found) };
        found = await browse(session, nodeId);
    }
    return found;
}

async function attributes(session, nodeId) {
    const ids = ["BrowseName", "DisplayName", "DataType", "AccessLevel", "UserAccessLevel",
        "Historizing", "ValueRank", "Description"];
    const values = await session.read(ids.map((id) => ({
        nodeId, attributeId: opcua.AttributeIds[id] })));
    const found = {};
    ids.forEach((id, index) => {
        const { value, statusCode } = values[index];
        found[id] = statusCode.isGood() ? String(value.value.name || value.value) : statusCode.name;
    });
    return found;
}

async function subscribe(session, task) {
    const subscription = await session.createSubscription2({ requestedPublishingInterval: 100,
        requestedLifetimeCount: 100, requestedMaxKeepAliveCount: 10,
        maxNotificationsPerPublish: 0, publishingEnabled: true, priority: 1 });
    const item = await subscription.monitor(
        { nodeId: task.subscribe.node, attributeId: opcua.AttributeIds.Value },
        { samplingInterval: 0, queueSize: 100, discardOldest: true },
        opcua.TimestampsToReturn.Both);
    const values = [];
    await new Promise((resolve) => {
        item.on("changed", (value) => {
            values.push(plain(value));
            if (values.length >= task.subscribe.count) resolve();
        });
    });
    await subscription.terminate();
    return values;
}

async function events(session, task) {
    const { node, fields, type, count } = task.events;
    const subscription = await session.createSubscription2({ requestedPublishingInterval: 100,
        requestedLifetimeCount: 100, requestedMaxKeepAliveCount: 10,
        maxNotificationsPerPublish: 0, publishingEnabled: true, priority: 1 });
    const where = type ? opcua.ofType(type) : undefined;
    const item = await subscription.monitor(
        { nodeId: node, attributeId: opcua.AttributeIds.EventNotifier },
        { samplingInterval: 0, queueSize: 100, discardOldest: true,
            filter: opcua.constructEventFilter(fields, where) },
        opcua.TimestampsToReturn.Both);
    const found = [];
    await new Promise((resolve) => {
        item.on("changed", (values) => {
            found.push(values.map(({ value }) => value && (value.text || value.toString())));
            if (found.length >= count) resolve();
        });
        process.stdout.write(JSON.stringify({ watches: node }) + "\n");
    });
    await subscription.terminate();
    return found;
}

async function history(session, task) {
    const { node, start, end, page } = task.history;
    const pages = [];
    let continuationPoint;
    do {
        const response = await session.historyRead(new opcua.HistoryReadRequest({
            historyReadDetails: new opcua.ReadRawModifiedDetails({
                isReadModified: false, startTime: new Date(start), endTime: new Date(end),
                numValuesPerNode: page, returnBounds: false }),
            timestampsToReturn: opcua.TimestampsToReturn.Both, releaseContinuationPoints: false,
            nodesToRead: [{ nodeId: opcua.resolveNodeId(node), continuationPoint }] }));
        const [result] = response.results;
        if (!result.statusCode.isGood()) return { refused: result.statusCode.name, pages };
        pages.push(((result.historyData && result.historyData.dataValues) || []).map(plain));
        continuationPoint = result.continuationPoint;
    } while (continuationPoint && continuationPoint.length && pages.length < PAGES_MAX);
    return { pages };
}

async function write(session, task) {
    const found = {};
    for (const { node, type, value } of task.write) {
        const status = await session.write({ nodeId: node, attributeId: opcua.AttributeIds.Value,
            value: { value: { dataType: opcua.DataType[type], value } } });
        found[node] = [...(found[node] || []), status.name];
    }
    return found;
}

async function carryOut(task) {
    const { client, session } = await connect(task);
    const found = {};
    if (task.path) found.browse = await walk(session, task);
    if (task.read)
        found.read = (await session.read(task.read.map((nodeId) => ({ nodeId,
            attributeId: opcua.AttributeIds.Value })))).map(plain);
    if (task.attributes) found.attributes = await attributes(session, task.attributes);
    if (task.subscribe) found.subscribe = await subscribe(session, task);
    if (task.events) found.events = await events(session, task);
    if (task.history) found.history = await history(session, task);
    if (task.write) found.write = await write(session, task);
    await session.close();
    await client.disconnect();
    return found;
}

async function main() {
    const found = [];
    for (const task of tasks)
        found.push(await carryOut(task).catch((error) => ({ error: String(error.message) })));
    process.stdout.write(JSON.stringify({ found }) + "\n", () => process.exit(0));
}

main();
