// Reads raw history of nodes whole, page by page, following continuation points.
// Usage: history_reader.js ENDPOINT NODES_FILE START_ISO END_ISO VALUES_PER_NODE NODES_PER_CALL
// Prints how many values came in how many seconds; times out of order and repeated ones are counted.
"use strict";
const fs = require("fs");
const { HistoryReadRequest, ReadRawModifiedDetails, TimestampsToReturn, resolveNodeId } =
    require("node-opcua");
const { connect, say, run } = require("./opcua_party.js");

const CALLS_MAX = 1000000;

run(async () => {
    const [endpoint, nodesFile, start, end, perNode, perCall] = process.argv.slice(2);
    const nodes = fs.readFileSync(nodesFile, "utf8").split("\n").filter((line) => line);
    const { client, session } = await connect(endpoint);
    const details = {
        isReadModified: false, startTime: new Date(start), endTime: new Date(end),
        numValuesPerNode: Number(perNode), returnBounds: false,
    };
    const found = { values: 0, calls: 0, unordered: 0, same_time: 0, refused: 0, first: null, last: null };
    const last = new Map();
    let waiting = nodes.map((nodeId) => ({ nodeId, continuationPoint: undefined }));
    say({ connected: nodes.length });
    const began = process.hrtime.bigint();
    const cpu = process.cpuUsage();
    while (waiting.length && found.calls < CALLS_MAX) {
        const asked = waiting.splice(0, Number(perCall));
        const response = await session.historyRead(new HistoryReadRequest({
            historyReadDetails: new ReadRawModifiedDetails(details),
            timestampsToReturn: TimestampsToReturn.Both, releaseContinuationPoints: false,
            nodesToRead: asked.map((ask) => ({
                nodeId: resolveNodeId(ask.nodeId), continuationPoint: ask.continuationPoint })),
        }));
        found.calls += 1;
        response.results.forEach((result, index) => {
            const { nodeId } = asked[index];
            if (result.statusCode.value & 0x80000000) {
                found.refused += 1;
                found.why = result.statusCode.toString();
                return;
            }
            for (const value of (result.historyData && result.historyData.dataValues) || []) {
                const time = value.sourceTimestamp.getTime() * 1e6 + value.sourcePicoseconds / 1e3;
                if (last.has(nodeId) && time < last.get(nodeId)) found.unordered += 1;
                if (last.has(nodeId) && time === last.get(nodeId)) found.same_time += 1;
                last.set(nodeId, time);
                found.values += 1;
            }
            const { continuationPoint } = result;
            // What was begun is ended first: a server keeps a bounded number of continuation points.
            if (continuationPoint && continuationPoint.length)
                waiting.unshift({ nodeId, continuationPoint });
        });
    }
    const used = process.cpuUsage(cpu);
    found.seconds = Number(process.hrtime.bigint() - began) / 1e9;
    found.client_cpu_s = (used.user + used.system) / 1e6;
    await session.close();
    await client.disconnect();
    say(found);
    process.exit(0);
});
